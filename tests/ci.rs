//! The workflows of `docs/ci.md`: their shell steps, run against a real clone as a runner would.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
#[expect(dead_code, reason = "it serves other tests too")]
mod support_server;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Answer, Sandbox, text};
use support_server::Server;

/// The block of YAML below the heading, without its fences.
fn workflow(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md");
    let text = fs::read_to_string(path).expect("docs/ci.md");
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect("the section");
    let block = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("a workflow").to_owned()
}

/// The scripts of the `run: |` steps.
fn steps(workflow: &str) -> Vec<String> {
    let mut lines = workflow.lines().peekable();
    let mut steps = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim_start() == "run: |" {
            let deep = line.len() - line.trim_start().len();
            let mut script = String::new();
            while let Some(line) = lines.next_if(|line| line.len() - line.trim_start().len() > deep) {
                script.push_str(line.trim_start_matches(' '));
                script.push('\n');
            }
            steps.push(script);
        }
    }
    steps
}

/// The entries of GitLab's `script:`.
fn script(workflow: &str) -> String {
    let lines = workflow.lines().skip_while(|line| line.trim() != "script:").skip(1);
    lines.map_while(|line| line.strip_prefix("    - ")).map(|line| format!("{line}\n")).collect()
}

/// A server with one thread, and the session that published it.
struct Yard {
    sandbox: Sandbox,
    server: Server,
    worktree: PathBuf,
    session: String,
}

impl Yard {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let server = Server::start(&sandbox);
        sandbox.git(&["remote", "add", "origin", &server.url]);
        sandbox.git(&["push", "--quiet", "origin", "main"]);
        let reserved = sandbox.reserve("fix", &["--worktree"]);
        let (session, worktree) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
        Self { sandbox, server, worktree, session }
    }

    fn publish(&self) {
        fs::write(self.worktree.join("file"), "x\n").expect("write");
        let ready = ["agent", "ready", "--session", &self.session, "-m", "Work"];
        self.sandbox.heddle_in(&self.worktree, &ready).exits(0);
        self.sandbox.heddle(&["publish", "--session", &self.session]).exits(0);
    }

    /// What a runner checks out: every branch, HEAD detached.
    fn checkout(&self, name: &str) -> PathBuf {
        let folder = self.sandbox.home().join(name);
        fs::create_dir(&folder).expect("folder");
        let git = |args: &[&str]| self.sandbox.git_in(&folder, args);
        git(&["init", "--quiet", "--initial-branch=unused"]);
        git(&["remote", "add", "origin", &self.server.url]);
        git(&["fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*"]);
        git(&["checkout", "--quiet", "--detach", "origin/main"]);
        folder
    }

    /// Runs a step as runners do, with what they set in its environment.
    fn step(&self, folder: &Path, script: &str) -> Answer {
        let mut command = self.sandbox.program("bash", folder, &["-e", "-o", "pipefail", "-c", script]);
        command.env("CI_DEFAULT_BRANCH", "main").env("GITHUB_STEP_SUMMARY", self.summary());
        Answer::of(&command.output().expect("bash"))
    }

    fn summary(&self) -> PathBuf {
        self.sandbox.home().join("summary")
    }
}

/// All but the installation, which a test leaves out: the program is there.
fn after_install(steps: &[String]) -> &[String] {
    let (install, rest) = steps.split_first().expect("steps");
    assert!(install.starts_with("cargo install --locked "), "{install}");
    rest
}

#[test]
fn the_workflow_for_github_passes_what_is_in_order_and_annotates_what_is_not() {
    let steps = steps(&workflow("GitHub Actions"));
    let yard = Yard::new();
    let run = |name: &str| {
        let folder = yard.checkout(name);
        let mut answers = after_install(&steps).iter().map(|step| yard.step(&folder, step));
        answers.by_ref().take(after_install(&steps).len() - 1).for_each(|answer| drop(answer.exits(0)));
        answers.next().expect("the last step")
    };
    let answer = run("none").exits(0);
    assert!(answer.stdout.contains("no threads have been published"), "{answer:?}");
    yard.publish();
    let answer = run("good").exits(0);
    assert_eq!(answer.stdout, "::notice title=git heddle verify::1 in order\n");
    assert!(
        fs::read_to_string(yard.summary())
            .expect("summary")
            .contains("| origin/fix | in order | 1 | 1 | 1 | yes |")
    );
    // Somebody goes around everything and pushes a commit of nobody's on the thread.
    let commit =
        yard.sandbox.git(&["commit-tree", "HEAD^{tree}", "-p", "refs/heddle/threads/fix", "-m", "By nobody"]);
    yard.sandbox.git(&[
        "push",
        "--quiet",
        "--no-verify",
        "origin",
        &format!("{commit}:refs/heddle/threads/fix"),
    ]);
    let answer = run("bad").exits(7);
    let lines: Vec<&str> = answer.stdout.lines().collect();
    assert!(lines[0].starts_with("::error title=origin/fix%3A ready::"), "{lines:?}");
    assert!(lines[1].contains("no session made it"), "{lines:?}");
}

#[test]
fn the_job_for_gitlab_leaves_a_report() {
    let all = script(&workflow("GitLab"));
    let (install, script) = all.split_once('\n').expect("lines");
    assert!(install.starts_with("cargo install --locked "), "{install}");
    let yard = Yard::new();
    yard.step(&yard.checkout("none"), script).exits(0);
    yard.publish();
    let folder = yard.checkout("good");
    yard.step(&folder, script).exits(0);
    let report = fs::read_to_string(folder.join("heddle.xml")).expect("report");
    let document = roxmltree::Document::parse(&report).expect("well-formed");
    assert_eq!(document.root_element().attribute("failures"), Some("0"));
    assert_eq!(document.root_element().attribute("tests"), Some("7"));
}
