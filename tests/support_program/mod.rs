//! Programs that a test writes, to be started right away.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program by a process of its own. Written by this one, it would be open for writing in
/// whatever another test starts just now, until that is a program itself, and could not be started
/// ("Text file busy").
pub(crate) fn write_program(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(path.as_ref());
    let mut child = command.stdin(Stdio::piped()).spawn().expect("sh");
    child.stdin.take().expect("a pipe").write_all(text.as_ref()).expect("a program");
    assert!(child.wait().expect("sh").success(), "{:?}", path.as_ref());
}
