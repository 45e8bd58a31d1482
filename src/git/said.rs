//! What a child says until it ends.
//!
//! The end of a pipe is no sign of that: a hook that leaves a process in the background leaves it
//! the pipe as well. So the pipes are read while the child runs, and where they stay open it is
//! looked whether the child is there still. A process in the background that goes on to write finds
//! its pipe closed, as it would behind a pager. (Into a file it could write on; but whoever opens
//! `/dev/stderr` anew, as scripts do, would empty that file.)

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often it is looked whether a child is there still.
const LOOK: Duration = Duration::from_millis(50);
/// What is read at once; what a pipe holds at most is a few times that.
const CHUNK: usize = 8192;
/// How many chunks are read before anything else is looked at: as many as a pipe holds.
const CHUNKS: usize = 8;

/// One pipe of the child's and what came out of it.
struct Stream<P> {
    pipe: Option<P>,
    said: Vec<u8>,
}

impl<P: Read + AsFd> Stream<P> {
    fn new(pipe: Option<P>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { pipe, said: Vec::new() })
    }

    fn open(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there: all of it, unless more comes meanwhile.
    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.said.extend_from_slice(&chunk[..count]);
                    if count < CHUNK {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits for the end of `child`; how it ended, and what it wrote into its pipes until then.
///
/// # Errors
/// As the system says. The child has ended then too: what it was to change it goes on changing
/// though nobody hears it, and whoever looks meanwhile sees it as it was before.
pub(super) fn read(mut child: Child) -> io::Result<Output> {
    let said = listen(&mut child);
    // With its pipes closed, so that it does not wait to be heard.
    let status = child.wait()?;
    let (stdout, stderr) = said?;
    Ok(Output { status, stdout, stderr })
}

/// What `child` writes, until it ends or closes its pipes.
fn listen(child: &mut Child) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut out = Stream::new(child.stdout.take())?;
    let mut err = Stream::new(child.stderr.take())?;
    let mut looked = Instant::now();
    loop {
        let mut open: Vec<PollFd<'_>> =
            out.open().into_iter().chain(err.open()).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if open.is_empty() {
            break;
        }
        match poll(&mut open, PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(open);
        // Before the last reading, so that nothing of what the child wrote is missed.
        let ended = looked.elapsed() >= LOOK && {
            looked = Instant::now();
            child.try_wait()?.is_some()
        };
        out.read()?;
        err.read()?;
        if ended {
            break;
        }
    }
    Ok((out.said, err.said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn run(script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        read(command.spawn().expect("sh")).expect("an end")
    }

    #[test]
    fn all_that_the_child_wrote_is_read_however_much() {
        let output = run("seq 1 100000; seq 1 50000 >&2; echo end; exit 3");
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout.split(|byte| *byte == b'\n').count(), 100_002);
        assert!(output.stdout.ends_with(b"100000\nend\n") && output.stderr.ends_with(b"\n50000\n"));
    }

    #[test]
    fn a_child_that_cannot_be_heard_has_ended_all_the_same() {
        let folder = tempfile::tempdir().expect("folder");
        let mut command = Command::new("sh");
        // What it writes at last it writes to nobody, and is not told before.
        command.args(["-c", "sleep 0.3; : > done"]).current_dir(folder.path()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh");
        let deaf = std::fs::File::open(folder.path()).expect("a folder, which cannot be read");
        child.stdout = Some(std::os::fd::OwnedFd::from(deaf).into());
        read(child).expect_err("nothing to hear");
        assert!(folder.path().join("done").exists());
    }

    #[test]
    fn who_goes_on_in_the_background_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let gate = folder.path().join("gate");
        // It ends when we have returned and not before, however quiet or talkative it is.
        for also in ["", "echo y;"] {
            std::fs::write(&gate, "").expect("a file");
            let gate = gate.display();
            let output =
                run(&format!("(while [ -e '{gate}' ]; do {also} :; done) & echo said; echo too >&2"));
            assert!(output.status.success());
            assert!(String::from_utf8_lossy(&output.stdout).contains("said\n"), "{output:?}");
            assert_eq!(output.stderr, b"too\n");
            std::fs::remove_file(folder.path().join("gate")).expect("the file");
        }
    }
}
