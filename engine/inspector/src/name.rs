//! Names in canonical form.

/// A host name: lower case, A-labels, no trailing dot, 1 to 253 bytes of a-z 0-9 _ - and dots, no empty label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
