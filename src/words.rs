//! Options that users choose by a word. Each has one table, from which parsing, its error message and Python's list come.

use crate::error::{Error, argument};

/// An option with a fixed set of words.
pub trait Words: Copy + 'static {
    /// The parameter's name.
    const NAME: &'static str;
    /// Each word and its value, in the order in which an error lists them.
    const WORDS: &'static [(&'static str, Self)];

    fn parse(word: &str) -> Result<Self, Error> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
            argument(Self::NAME, alternatives(&words), format!("{word:?}"))
        })
    }
}

/// The words of an option, by its name.
pub fn words_of<T: Words>() -> (&'static str, Vec<&'static str>) {
    (T::NAME, T::WORDS.iter().map(|(word, _)| *word).collect())
}

/// `"a", "b" or "c"`.
pub fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
