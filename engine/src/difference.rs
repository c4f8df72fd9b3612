//! What the kernel holds against what it should.

/// Examples kept as text.
pub const EXAMPLES_MAX: usize = 10;

/// 0 in the three counts: they agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Cells, bitmaps, buckets, slots, entries that should be there.
    pub wanted: u64,
    /// Should be there, and are not.
    pub missing: u64,
    /// Are there, and should not.
    pub foreign: u64,
    /// Are there with another value.
    pub wrong: u64,
    /// The first ones, for a person.
    pub examples: Vec<String>,
}

impl Difference {
    /// Compares a number of a table with 0 for nothing there.
    pub fn number(&mut self, held: u64, wanted: u64, what: impl FnOnce() -> String) {
        let count = match (held, wanted) {
            (held, wanted) if held == wanted => return,
            (0, _) => &mut self.missing,
            (_, 0) => &mut self.foreign,
            _ => &mut self.wrong,
        };
        *count += 1;
        self.example(|| format!("{}: {held:#x}, should be {wanted:#x}", what()));
    }

    /// Compares two values that have no "nothing".
    pub fn value<T: PartialEq>(&mut self, held: &T, wanted: &T, what: impl FnOnce() -> String) {
        if held != wanted {
            self.wrong += 1;
            self.example(|| format!("{}: not as written", what()));
        }
    }

    /// Compares words of single bits: each differing bit counts.
    pub fn bits(&mut self, held: u64, wanted: u64, what: impl FnOnce() -> String) {
        if held != wanted {
            self.missing += u64::from((wanted & !held).count_ones());
            self.foreign += u64::from((held & !wanted).count_ones());
            self.example(|| format!("{}: bits {held:#018x}, should be {wanted:#018x}", what()));
        }
    }

    /// An entry that should be there.
    pub fn missing(&mut self, what: impl FnOnce() -> String) {
        self.missing += 1;
        self.example(|| format!("{}: missing", what()));
    }

    /// An entry that should not.
    pub fn foreign(&mut self, what: impl FnOnce() -> String) {
        self.foreign += 1;
        self.example(|| format!("{}: foreign", what()));
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}
