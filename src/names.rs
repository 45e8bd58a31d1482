//! The names of things: threads, sessions, commits, generations.
//!
//! Each type is parsed once, at the edge, and has no other constructor: a [`ThreadName`]
//! that exists is a name Git accepts for a ref and that fits in a file name; a
//! [`SessionId`] is safe as a path segment; a [`CommitId`] is a full hexadecimal object
//! id of either hash algorithm. Nothing here touches a repository.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where threads live.
pub const THREADS: &str = "refs/heddle/threads/";
/// Where ready marks live.
pub const READY: &str = "refs/heddle/ready/";
/// Where what was fetched of other repositories lies: `<remote>/threads/` and `<remote>/ready/`.
pub const REMOTES: &str = "refs/heddle-remotes/";

/// Where the tips of dropped threads are kept until they are pruned.
pub const DROPPED: &str = "refs/heddle/dropped/";

/// The longest file name that common file systems take, in bytes.
const NAME_MAX: usize = 255;
/// Room that Git needs after a ref's last segment for `.lock`.
const LOCK_SUFFIX: usize = ".lock".len();
/// The longest whole thread name: paths end at 4,096 bytes, and the Git directory needs
/// its part of them.
const THREAD_MAX: usize = 1024;
/// The most segments of a thread's name. libgit2 lists nothing more once it has met a ref with a
/// hundred, and that a thread is fetched or dropped puts a few before its name.
const SEGMENTS_MAX: usize = 64;
/// A key longer than this is shortened to a prefix and a hash.
const KEY_MAX: usize = 200;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A thread name that Git would refuse as a ref, or that could not be a file.
    #[error("invalid thread name {name:?}: {reason}")]
    Thread {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A session id with characters that heddle never puts into one.
    #[error("invalid session ID '{id}': only lowercase alphanumeric and hyphens allowed")]
    Session {
        /// The id as given, control characters escaped.
        id: String,
    },
    /// Not a full object id.
    #[error("invalid object id {id:?}: 40 or 64 lowercase hexadecimal digits expected")]
    ObjectId {
        /// The id as given.
        id: String,
    },
    /// A generation of zero, or above the highest.
    #[error("invalid generation {number}: generations go from 1 to {}", Generation::MAX)]
    Generation {
        /// The number.
        number: u64,
    },
    /// The highest generation was given out.
    #[error("its generation is the highest there is, {}: no owner can follow", Generation::MAX)]
    NoGeneration,
}

/// The name of a thread: one or more segments separated by `/`, valid below
/// `refs/heddle/threads/` by the rules of `git check-ref-format`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadName(String);

/// `text` as one word of a shell's command line, for commands that are shown to be copied.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '%' | ':' | ',');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

impl ThreadName {
    /// Parses a name as the user gave it.
    ///
    /// # Errors
    /// [`NameError::Thread`] if `git check-ref-format refs/heddle/threads/<name>` would
    /// refuse it, if it starts with `-` (no command could take it unescaped), if a segment
    /// leaves no room for `.lock` in a file name, or if it has so many that nothing lists it.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match thread_name_fault(name) {
            Some(reason) => Err(NameError::Thread { name: name.to_owned(), reason }),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The name as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ref that holds the thread's tip.
    #[must_use]
    pub fn tip_ref(&self) -> String {
        format!("{THREADS}{}", self.0)
    }

    /// The ref that holds the commit last declared ready.
    #[must_use]
    pub fn ready_ref(&self) -> String {
        format!("{READY}{}", self.0)
    }

    /// The name as one path segment: percent-encoded, and above 200 bytes a prefix and a
    /// hash, so that `fix/login` never lies inside `fix` and every name has a file.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => key.push(char::from(byte)),
                _ => {
                    use fmt::Write as _;
                    let _ = write!(key, "%{byte:02X}");
                }
            }
        }
        if key.len() > KEY_MAX {
            // '%' is followed by two hex digits everywhere else, so `%~` cannot occur in
            // a key that was not shortened.
            let hash = hex(&Sha256::digest(self.0.as_bytes()));
            key.truncate(KEY_MAX - 2 - 32);
            key.push_str("%~");
            key.push_str(&hash[..32]);
        }
        key
    }

    /// The names above this one that would clash with it: `a` and `a/b` for `a/b/c`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

/// The rule that `name` breaks, if any; the rules are those of git-check-ref-format(1).
fn thread_name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > THREAD_MAX {
        return Some("it is longer than 1024 bytes");
    }
    if name.starts_with('-') {
        return Some("it starts with '-'");
    }
    if name == "@" || name.contains("@{") {
        return Some("Git gives '@' and '@{' a meaning of their own");
    }
    if name.contains("..") {
        return Some("it contains '..'");
    }
    if name.ends_with('.') {
        return Some("it ends with '.'");
    }
    if name.chars().any(char::is_control) {
        return Some("it contains a control character");
    }
    if name.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) {
        return Some("it contains a space or one of ~ ^ : ? * [ \\, which Git does not allow in a ref");
    }
    if name.split('/').count() > SEGMENTS_MAX {
        return Some("it has more than 64 segments (parts between '/')");
    }
    for segment in name.split('/') {
        if segment.is_empty() {
            return Some("it has an empty segment (a '/' at an end, or two in a row)");
        }
        if segment.starts_with('.') {
            return Some("a segment starts with '.'");
        }
        if segment.to_ascii_lowercase().ends_with(".lock") {
            return Some("a segment ends with '.lock', which is the name of a lock file");
        }
        if segment.len() > NAME_MAX - LOCK_SUFFIX {
            return Some("a segment is longer than 250 bytes, which leaves no room for its lock file");
        }
    }
    None
}

/// The id of a session: lowercase letters, digits and hyphens, sortable by start time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

/// Crockford's alphabet: sorts like the bits it encodes and has no look-alikes.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl SessionId {
    /// Parses an id as the user gave it.
    ///
    /// # Errors
    /// [`NameError::Session`] if it is empty, longer than 100 bytes, or has other
    /// characters than `a-z`, `0-9` and `-`.
    pub fn parse(id: &str) -> Result<Self, NameError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if id.is_empty() || id.len() > 100 || !id.bytes().all(legal) {
            return Err(NameError::Session { id: id.chars().flat_map(char::escape_debug).collect() });
        }
        Ok(Self(id.to_owned()))
    }

    /// A new id: 48 bits of milliseconds since 1970, then 80 random bits, so that ids sort
    /// by time and never meet.
    #[must_use]
    pub fn new(unix_millis: u64, random: [u8; 10]) -> Self {
        let mut bits: u128 = u128::from(unix_millis & 0xffff_ffff_ffff) << 80;
        for (place, byte) in random.iter().rev().enumerate() {
            bits |= u128::from(*byte) << (8 * place);
        }
        let digits = (0..26).rev().map(|place| char::from(BASE32[((bits >> (5 * place)) & 31) as usize]));
        Self("agent-".chars().chain(digits).collect())
    }

    /// When the id was made, in milliseconds since 1970, if it is one that [`Self::new`] made.
    #[must_use]
    pub fn unix_millis(&self) -> Option<u64> {
        let digits = self.0.strip_prefix("agent-").filter(|digits| digits.len() == 26)?;
        let digit = |byte| BASE32.iter().position(|digit| *digit == byte);
        // Ten digits of five bits hold the time, beneath two that are always zero.
        digits.bytes().take(10).try_fold(0, |bits, byte| Some(bits << 5 | digit(byte)? as u64))
    }

    /// The id as printed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a commit: full, lowercase hexadecimal, of either hash algorithm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(ObjectId);

/// The id of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId(ObjectId);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ObjectId(Box<str>);

/// The id is a hash already: its beginning tells as much as all of it.
impl Hash for ObjectId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.as_bytes()[..16]);
    }
}

impl ObjectId {
    fn parse(id: &str) -> Result<Self, NameError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if matches!(id.len(), 40 | 64) && id.bytes().all(hex) {
            Ok(Self(id.into()))
        } else {
            Err(NameError::ObjectId { id: id.chars().take(80).collect() })
        }
    }
}

macro_rules! object_id {
    ($name:ident, $what:literal) => {
        impl $name {
            #[doc = concat!("Parses the full id of a ", $what, ".")]
            ///
            /// # Errors
            /// [`NameError::ObjectId`] if it is not 40 or 64 lowercase hexadecimal digits.
            pub fn parse(id: &str) -> Result<Self, NameError> {
                ObjectId::parse(id).map(Self)
            }

            /// The full id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.0
            }

            /// The first twelve digits, for people.
            #[must_use]
            pub fn short(&self) -> &str {
                &self.0.0[..12]
            }
        }
    };
}
object_id!(CommitId, "commit");
object_id!(TreeId, "tree");

/// A thread's fencing number: one higher with every new owner, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// That of a thread's first owner.
    pub const FIRST: Self = Self(NonZeroU64::MIN);
    /// The highest that is read, and given out: what a signed integer of 64 bits holds, as there
    /// are readers that have no other.
    pub const MAX: u64 = i64::MAX as u64;

    /// A generation as read from a record or a trailer.
    ///
    /// # Errors
    /// [`NameError::Generation`] for zero, and above [`Self::MAX`].
    pub fn new(number: u64) -> Result<Self, NameError> {
        let found = NonZeroU64::new(number).filter(|_| number <= Self::MAX);
        found.map(Self).ok_or(NameError::Generation { number })
    }

    /// The generation of the owner that follows `last`; `None` is a thread that never had one.
    ///
    /// # Errors
    /// [`NameError::NoGeneration`] if no other can: two owners never have the same.
    pub fn after(last: Option<Self>) -> Result<Self, NameError> {
        let Some(last) = last else { return Ok(Self::FIRST) };
        last.0.checked_add(1).and_then(|next| Self::new(next.get()).ok()).ok_or(NameError::NoGeneration)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

macro_rules! text_form {
    ($name:ty) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        <$name>::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}
text_form!(ThreadName);
text_form!(SessionId);
text_form!(CommitId);
text_form!(TreeId);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Generation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Bytes as lowercase hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_segment_and_distinct() {
        let key = |name: &str| ThreadName::parse(name).expect("legal").key();
        assert_eq!(key("fix/login"), "fix%2Flogin");
        assert_ne!(key("a/b"), key("a%2Fb"));
        let long = format!("{}/x", "é".repeat(120));
        assert!(key(&long).len() <= KEY_MAX, "{}", key(&long));
        assert_ne!(key(&long), key(&format!("{}/y", "é".repeat(120))));
    }

    #[test]
    fn a_name_has_no_more_segments_than_are_listed() {
        let deep = |segments: usize| vec!["s"; segments].join("/");
        assert!(ThreadName::parse(&deep(SEGMENTS_MAX)).is_ok());
        let refused = ThreadName::parse(&deep(SEGMENTS_MAX + 1)).expect_err("too deep");
        assert!(refused.to_string().contains("more than 64 segments"), "{refused}");
    }

    #[test]
    fn no_two_owners_get_the_same_generation() {
        let highest = Generation::new(Generation::MAX).expect("the highest");
        assert_eq!(Generation::after(Some(highest)), Err(NameError::NoGeneration));
        let before = Generation::new(Generation::MAX - 1).expect("a generation");
        assert_eq!(Generation::after(Some(before)), Ok(highest));
        for number in [0, Generation::MAX + 1, u64::MAX] {
            assert_eq!(Generation::new(number), Err(NameError::Generation { number }));
        }
    }

    #[test]
    fn session_ids_sort_by_time() {
        let early = SessionId::new(1, [255; 10]);
        let late = SessionId::new(2, [0; 10]);
        assert!(early < late);
        assert_eq!(SessionId::parse(early.as_str()), Ok(early));
        assert_eq!(late.unix_millis(), Some(2));
        let now = 1_800_000_000_123;
        assert_eq!(SessionId::new(now, [7; 10]).unix_millis(), Some(now));
        for foreign in ["heddle-1", "agent-1", "agent-uuuuuuuuuuuuuuuuuuuuuuuuuu"] {
            assert_eq!(SessionId::parse(foreign).expect("legal").unix_millis(), None, "{foreign}");
        }
    }

    #[test]
    fn parents_of_a_thread_are_the_names_it_would_clash_with() {
        let name = ThreadName::parse("a/b/c").expect("legal");
        assert_eq!(name.parents().collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
