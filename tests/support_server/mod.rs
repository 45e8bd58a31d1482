//! A Git server on the loopback interface: `git daemon`, with a bare repository to push to.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::support::Sandbox;

/// The server; it ends with this value.
pub(crate) struct Server {
    daemon: Child,
    /// Where the repository is reached.
    pub(crate) url: String,
    /// Where it lies.
    pub(crate) repository: PathBuf,
}

impl Server {
    /// Starts it for an empty repository in the sandbox's home.
    #[track_caller]
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let root = sandbox.home().join("served");
        std::fs::create_dir(&root).expect("folder");
        let repository = root.join("repo.git");
        sandbox.git_in(&root, &["init", "--quiet", "--bare", "--initial-branch=main", "repo.git"]);
        // Another process may take the port before the daemon does: then there is another port.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let port = free.expect("port").port();
            let args = ["daemon", "--listen=127.0.0.1", &format!("--port={port}"), "--export-all"];
            let mut command = sandbox.program("git", &root, &args);
            command.args(["--reuseaddr", "--enable=receive-pack", "--base-path=."]).arg(".");
            // `git` starts the daemon as its child: they end together.
            command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let mut daemon = command.spawn().expect("git daemon");
            while daemon.try_wait().expect("daemon").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { daemon, url: format!("git://127.0.0.1:{port}/repo.git"), repository };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("git daemon does not start");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.daemon.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.daemon.wait();
    }
}
