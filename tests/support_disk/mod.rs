//! A disk that loses power: what a traced command did to its files, replayed so that only
//! what was synced is sure to be there.
//!
//! The model is stricter than any file system in use, so that what passes here does not rest
//! on one of them: the content of a file survives from its last `fsync` on, the names in a
//! folder from the last `fsync` of that folder on, and each of what came later may be there
//! or not, independently of everything else. One exception: Git syncs the content of objects
//! and leaves their names to the journal of the file system, so the names below `objects/`
//! survive from the next sync of anything.
//!
//! Whether the replay knows everything that happened is checked by comparing its end with
//! the real disk ([`Recording::last`] with what is there).

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use crate::support_processes::{Body, Files};

/// Calls that the replay knows; all that can change a file or make a change survive.
pub(crate) const CALLS: &str = "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
    fallocate,copy_file_range,sendfile,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,\
    rmdir,symlink,symlinkat,fsync,fdatasync,sync,syncfs,sync_file_range,lseek";

#[derive(Debug, Clone)]
enum Content {
    File(Vec<u8>),
    Link(PathBuf),
    Folder(BTreeMap<Vec<u8>, usize>),
}

/// A file or folder in all its versions.
#[derive(Debug, Clone)]
struct Node {
    versions: Vec<Content>,
    /// The version that is sure to survive.
    synced: usize,
    /// The version that survives the next sync of anything.
    written: usize,
    /// Below `objects/`: the names are left to the file system's journal.
    journalled: bool,
}

impl Node {
    fn last(&self) -> &Content {
        self.versions.last().expect("a version")
    }
}

/// What of the unsynced survives.
pub(crate) enum Survival<'a> {
    /// All names, no content.
    Names,
    /// Nothing.
    Least,
    /// As drawn: a number below the one given.
    Drawn(&'a mut dyn FnMut(usize) -> usize),
}

/// The disk at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    top: PathBuf,
    nodes: Vec<Node>,
    offsets: HashMap<(u64, usize), usize>,
    appending: HashMap<(u64, usize), bool>,
}

impl Disk {
    /// A disk on which everything is synced.
    pub(crate) fn new(top: &Path, files: &Files) -> Self {
        let mut disk = Self {
            top: top.to_owned(),
            nodes: Vec::new(),
            offsets: HashMap::new(),
            appending: HashMap::new(),
        };
        disk.add(Content::Folder(BTreeMap::new()), false);
        for (path, body) in files {
            let content = match body {
                Body::File(bytes) => Content::File(bytes.clone()),
                Body::Link(to) => Content::Link(to.clone()),
                Body::Folder => Content::Folder(BTreeMap::new()),
            };
            disk.place(path, content);
        }
        for node in &mut disk.nodes {
            node.versions = vec![node.last().clone()];
        }
        disk.sync_all();
        disk
    }

    /// What is there after a power cut now.
    pub(crate) fn after_power_cut(&self, survival: &mut Survival<'_>) -> Files {
        let mut chosen = |node: &Node| {
            let last = node.versions.len() - 1;
            let version = match survival {
                Survival::Least => node.synced,
                Survival::Names if matches!(node.last(), Content::Folder(_)) => last,
                Survival::Names => node.synced,
                Survival::Drawn(draw) => node.synced + draw(last - node.synced + 1),
            };
            node.versions[version].clone()
        };
        // One choice a node, however many names it has.
        let contents: Vec<Content> = self.nodes.iter().map(&mut chosen).collect();
        collect(&contents)
    }

    /// What is there if nothing happens.
    pub(crate) fn last(&self) -> Files {
        let contents: Vec<Content> = self.nodes.iter().map(|node| node.last().clone()).collect();
        collect(&contents)
    }

    fn add(&mut self, content: Content, journalled: bool) -> usize {
        self.nodes.push(Node { versions: vec![content], synced: 0, written: 0, journalled });
        self.nodes.len() - 1
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut at = 0;
        for part in path.components() {
            let Content::Folder(names) = self.nodes[at].last() else { return None };
            at = *names.get(part.as_os_str().as_bytes())?;
        }
        Some(at)
    }

    fn change_names(&mut self, path: &Path, change: impl FnOnce(&mut BTreeMap<Vec<u8>, usize>, Vec<u8>)) {
        let name = path.file_name().expect("a name").as_bytes().to_vec();
        let folder = self.find(path.parent().expect("a folder")).expect("a folder that is there");
        let Content::Folder(mut names) = self.nodes[folder].last().clone() else { panic!("{path:?}") };
        change(&mut names, name);
        self.nodes[folder].versions.push(Content::Folder(names));
    }

    fn name(&mut self, path: &Path, node: usize) {
        self.change_names(path, |names, name| {
            names.insert(name, node);
        });
    }

    fn place(&mut self, path: &Path, content: Content) -> usize {
        let journalled = path.components().any(|part| part.as_os_str() == "objects");
        let node = self.add(content, journalled);
        self.name(path, node);
        node
    }

    fn forget(&mut self, path: &Path) {
        self.change_names(path, |names, name| {
            names.remove(&name);
        });
    }

    fn sync(&mut self, node: usize) {
        self.nodes[node].synced = self.nodes[node].versions.len() - 1;
        for node in &mut self.nodes {
            if node.journalled && matches!(node.last(), Content::Folder(_)) {
                node.written = node.versions.len() - 1;
            }
            node.synced = node.synced.max(node.written);
        }
    }

    fn sync_all(&mut self) {
        for node in &mut self.nodes {
            node.synced = node.versions.len() - 1;
        }
    }

    /// A path of a call, as one below the top.
    fn below(&self, folder: Option<&Path>, path: &Path) -> Option<PathBuf> {
        let whole = folder.map_or_else(|| path.to_owned(), |folder| folder.join(path));
        let mut plain = PathBuf::new();
        for part in whole.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    plain.pop();
                }
                part => plain.push(part),
            }
        }
        plain.strip_prefix(&self.top).ok().map(Path::to_owned)
    }

    /// Does what `call` did; false if it changes nothing here.
    pub(crate) fn replay(&mut self, call: &Call) -> bool {
        let args = &call.args;
        let path = |index: usize| args.get(index).and_then(Arg::path);
        match call.name.as_str() {
            "open" | "creat" => self.opened(call, path(0).and_then(|path| self.below(None, path))),
            "openat" => self.opened(call, path(1).and_then(|name| self.below(path(0), name))),
            "lseek" => self.with_file(&args[0], |disk, key, _| {
                disk.offsets.insert(key, call.result);
                false
            }),
            "write" => self.with_file(&args[0], |disk, key, bytes| {
                let data = args[1].bytes();
                let appending = disk.appending.get(&key).copied().unwrap_or(false);
                let at = if appending { bytes.len() } else { disk.offsets.get(&key).copied().unwrap_or(0) };
                disk.offsets.insert(key, at + data.len());
                disk.written_at(key.1, bytes, at, data)
            }),
            "pwrite64" => self.with_file(&args[0], |disk, key, bytes| {
                let at = args[3].number();
                disk.written_at(key.1, bytes, at, args[1].bytes())
            }),
            "ftruncate" => self.with_file(&args[0], |disk, key, mut bytes| {
                bytes.resize(args[1].number(), 0);
                disk.nodes[key.1].versions.push(Content::File(bytes));
                true
            }),
            "copy_file_range" => {
                // The end of the file was reached.
                if call.result == 0 {
                    return false;
                }
                let from = args[0].path().and_then(|path| self.below(None, path));
                let from = from.and_then(|path| self.find(&path)).map(|node| self.nodes[node].last().clone());
                self.with_file(&args[2], |disk, key, bytes| {
                    let Some(Content::File(source)) = from else { panic!("copied from elsewhere: {call:?}") };
                    assert_eq!(source.len(), call.result, "only whole files are copied: {call:?}");
                    disk.written_at(key.1, bytes, 0, &source)
                })
            }
            "fsync" | "fdatasync" => self.at(&args[0], |disk, node| {
                disk.sync(node);
                false
            }),
            "sync_file_range" => self.at(&args[0], |disk, node| {
                disk.nodes[node].written = disk.nodes[node].versions.len() - 1;
                false
            }),
            "sync" | "syncfs" => {
                self.sync_all();
                false
            }
            "rename" => self.moved(self.below_of(call, None, 0), self.below_of(call, None, 1)),
            "renameat" | "renameat2" => {
                self.moved(self.below_of(call, Some(0), 1), self.below_of(call, Some(2), 3))
            }
            "link" => self.linked(self.below_of(call, None, 0), self.below_of(call, None, 1)),
            "linkat" => self.linked(self.below_of(call, Some(0), 1), self.below_of(call, Some(2), 3)),
            "unlink" | "rmdir" => self.gone(self.below_of(call, None, 0)),
            "unlinkat" => self.gone(self.below_of(call, Some(0), 1)),
            "mkdir" => self.made(self.below_of(call, None, 0), Content::Folder(BTreeMap::new())),
            "mkdirat" => self.made(self.below_of(call, Some(0), 1), Content::Folder(BTreeMap::new())),
            "symlink" => {
                let to = Content::Link(path(0).expect("where it leads").to_owned());
                self.made(self.below_of(call, None, 1), to)
            }
            _ => {
                let touches = |arg: &Arg| arg.path().and_then(|path| self.below(None, path)).is_some();
                assert!(!args.iter().any(touches), "the replay does not know this: {call:?}");
                false
            }
        }
    }

    fn below_of(&self, call: &Call, folder: Option<usize>, path: usize) -> Option<PathBuf> {
        let folder = folder.and_then(|index| call.args[index].path());
        self.below(folder, call.args[path].path()?)
    }

    fn opened(&mut self, call: &Call, path: Option<PathBuf>) -> bool {
        let Some(path) = path else { return false };
        let flags = call.args.iter().find_map(|arg| arg.flags("O_")).unwrap_or_default();
        let has = |flag: &str| flags.split('|').any(|one| one == flag);
        // What is only read, and temporary files without a name.
        if has("O_RDONLY") && !has("O_CREAT") || has("O_TMPFILE") || has("O_DIRECTORY") {
            return false;
        }
        let (node, changed) = match self.find(&path) {
            Some(node) => {
                let emptied = has("O_TRUNC")
                    && matches!(self.nodes[node].last(), Content::File(bytes) if !bytes.is_empty());
                if emptied {
                    self.nodes[node].versions.push(Content::File(Vec::new()));
                }
                (node, emptied)
            }
            None => (self.place(&path, Content::File(Vec::new())), true),
        };
        let key = (call.result as u64, node);
        self.offsets.insert(key, 0);
        self.appending.insert(key, has("O_APPEND"));
        changed
    }

    /// Acts on the file or folder that a descriptor stands for.
    fn at(&mut self, fd: &Arg, act: impl FnOnce(&mut Self, usize) -> bool) -> bool {
        let node = fd.path().and_then(|path| self.below(None, path)).and_then(|path| self.find(&path));
        node.is_some_and(|node| act(self, node))
    }

    fn with_file(&mut self, fd: &Arg, act: impl FnOnce(&mut Self, (u64, usize), Vec<u8>) -> bool) -> bool {
        let number = fd.number() as u64;
        self.at(fd, |disk, node| match disk.nodes[node].last().clone() {
            Content::File(bytes) => act(disk, (number, node), bytes),
            _ => false,
        })
    }

    fn written_at(&mut self, node: usize, mut bytes: Vec<u8>, at: usize, data: &[u8]) -> bool {
        bytes.resize(bytes.len().max(at + data.len()), 0);
        bytes[at..at + data.len()].copy_from_slice(data);
        self.nodes[node].versions.push(Content::File(bytes));
        true
    }

    fn moved(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) -> bool {
        let (Some(from), Some(to)) = (from, to) else { return false };
        let node = self.find(&from).expect("what is renamed");
        if from.parent() == to.parent() {
            // Within one folder it is one change.
            let old = from.file_name().expect("a name").as_bytes().to_vec();
            self.change_names(&to, |names, name| {
                names.remove(&old);
                names.insert(name, node);
            });
        } else {
            self.name(&to, node);
            self.forget(&from);
        }
        true
    }

    fn linked(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) -> bool {
        let (Some(from), Some(to)) = (from, to) else { return false };
        let node = self.find(&from).expect("what is linked");
        self.name(&to, node);
        true
    }

    fn gone(&mut self, path: Option<PathBuf>) -> bool {
        path.is_some_and(|path| {
            self.forget(&path);
            true
        })
    }

    fn made(&mut self, path: Option<PathBuf>, content: Content) -> bool {
        path.is_some_and(|path| {
            self.place(&path, content);
            true
        })
    }
}

/// What hangs below the first node.
fn collect(contents: &[Content]) -> Files {
    let mut files = Files::new();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((path, node)) = open.pop() {
        let body = match &contents[node] {
            Content::File(bytes) => Body::File(bytes.clone()),
            Content::Link(to) => Body::Link(to.clone()),
            Content::Folder(names) => {
                let below = names
                    .iter()
                    .map(|(name, node)| (path.join(std::ffi::OsString::from_vec(name.clone())), *node));
                open.extend(below);
                Body::Folder
            }
        };
        files.insert(path, body);
    }
    files.remove(Path::new(""));
    files
}

/// A call that succeeded.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    args: Vec<Arg>,
    result: usize,
}

/// An argument, as the tracer prints it.
#[derive(Debug)]
enum Arg {
    /// A string: a path or data.
    Text(Vec<u8>),
    /// A descriptor with its path; `None` if that has been unlinked.
    Descriptor(usize, Option<PathBuf>),
    /// Anything else.
    Other(String),
}

impl Arg {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Text(bytes) => Some(Path::new(std::ffi::OsStr::from_bytes(bytes))),
            Self::Descriptor(_, path) => path.as_deref(),
            Self::Other(_) => None,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) => bytes,
            other => panic!("no data: {other:?}"),
        }
    }

    fn number(&self) -> usize {
        match self {
            Self::Descriptor(number, _) => *number,
            Self::Other(text) => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
            Self::Text(text) => panic!("no number: {text:?}"),
        }
    }

    fn flags(&self, prefix: &str) -> Option<String> {
        match self {
            Self::Other(text) if text.starts_with(prefix) => Some(text.clone()),
            _ => None,
        }
    }
}

/// The calls in a trace of `strace -f -y -xx` that succeeded, in the order in which they ended.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (pid, rest) = line.split_once(' ').expect("a pid");
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(pid, start.trim_end().to_owned());
            continue;
        }
        let whole = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let end = resumed.split_once(" resumed>").expect("a resumed call").1;
                begun.remove(pid).expect("a call that was begun") + end
            }
            None => rest.to_owned(),
        };
        calls.extend(parse(&whole));
    }
    calls
}

/// A line of a trace; `None` for one that is no call, or one of a call that failed.
fn parse(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let (mut args, mut depth, mut quoted, mut end) = (Vec::new(), 0, false, None);
    let mut from = 0;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'<' | b'{' | b'[' => depth += 1,
            b'>' | b'}' | b']' => depth -= 1,
            b')' | b',' if depth == 0 => {
                args.push(argument(rest[from..index].trim()));
                from = index + 1;
                if byte == b')' {
                    end = Some(index + 1);
                    break;
                }
            }
            // "(deleted)" behind the path of a descriptor.
            b'(' if depth == 0 => depth += 100,
            _ => {}
        }
        if depth >= 100 && byte == b')' {
            depth -= 100;
        }
    }
    let result = rest[end?..].trim_start().strip_prefix("= ")?;
    let digits: String = result.chars().take_while(char::is_ascii_digit).collect();
    Some(Call { name: name.to_owned(), args, result: digits.parse().ok()? })
}

fn argument(text: &str) -> Arg {
    if let Some(hex) = text.strip_prefix('"') {
        let hex = hex.strip_suffix('"').unwrap_or_else(|| panic!("cut short: {text}"));
        return Arg::Text(unescaped(hex));
    }
    match text.split_once('<') {
        Some((number, path)) if path.ends_with('>') => {
            let path = PathBuf::from(std::ffi::OsString::from_vec(unescaped(&path[..path.len() - 1])));
            Arg::Descriptor(number.parse().unwrap_or(usize::MAX), Some(path))
        }
        Some((number, _)) => Arg::Descriptor(number.parse().unwrap_or(usize::MAX), None),
        None => Arg::Other(text.to_owned()),
    }
}

/// `\x41\x42` as bytes.
fn unescaped(hex: &str) -> Vec<u8> {
    let byte = |digits: &str| u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no hex: {hex}"));
    hex.split("\\x").skip(1).map(|digits| byte(&digits[..2])).collect()
}
