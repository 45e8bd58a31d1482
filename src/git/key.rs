//! Object ids to look things up by.

use std::hash::{Hash, Hasher};

/// An object id as a key. git2's own hashes all the bytes that it has room for, and where ids are
/// shorter than that, the rest may be anything: equal ids would not be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::git) struct Key([u8; 32]);

/// The id is a hash already: its beginning tells as much as all of it.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[..8]);
    }
}

impl From<git2::Oid> for Key {
    fn from(oid: git2::Oid) -> Self {
        let id = oid.as_bytes();
        let mut key = [0; 32];
        key[..id.len()].copy_from_slice(id);
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_either_length_are_keys_by_their_bytes() {
        let key = |bytes: &[u8]| Key::from(git2::Oid::from_bytes(bytes).expect("an id"));
        for length in [20, 32] {
            let (one, two) = (vec![1; length], vec![2; length]);
            assert_eq!(key(&one), key(&one));
            assert_ne!(key(&one), key(&two));
        }
        assert_ne!(key(&[1; 20]), key(&[1; 32]));
    }
}
