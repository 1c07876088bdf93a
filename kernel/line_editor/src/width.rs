//! How many columns characters take on a screen.

/// Characters that take no column of their own: marks that join the character before them, and invisible ones.
const ZERO: &[(char, char)] = &[
    ('\u{300}', '\u{36F}'),
    ('\u{483}', '\u{489}'),
    ('\u{591}', '\u{5BD}'),
    ('\u{610}', '\u{61A}'),
    ('\u{64B}', '\u{65F}'),
    ('\u{1AB0}', '\u{1AFF}'),
    ('\u{1DC0}', '\u{1DFF}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{20D0}', '\u{20FF}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FE20}', '\u{FE2F}'),
];

/// Characters that take two columns: those of East Asian scripts, and pictures. (Unicode's `EastAsianWidth.txt`, by blocks.)
const TWO: &[(char, char)] = &[
    ('\u{1100}', '\u{115F}'),
    ('\u{2E80}', '\u{303E}'),
    ('\u{3041}', '\u{A4CF}'),
    ('\u{A960}', '\u{A97F}'),
    ('\u{AC00}', '\u{D7A3}'),
    ('\u{F900}', '\u{FAFF}'),
    ('\u{FE30}', '\u{FE6F}'),
    ('\u{FF01}', '\u{FF60}'),
    ('\u{FFE0}', '\u{FFE6}'),
    ('\u{1F300}', '\u{1F64F}'),
    ('\u{1F680}', '\u{1F6FF}'),
    ('\u{1F900}', '\u{1FAFF}'),
    ('\u{20000}', '\u{3FFFD}'),
];

/// The columns that `character` takes: 0, 1 or 2.
pub(crate) fn of_char(character: char) -> usize {
    let within =
        |ranges: &[(char, char)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
    if character < '\u{300}' {
        1
    } else if within(ZERO) {
        0
    } else if within(TWO) {
        2
    } else {
        1
    }
}

/// The columns that `text` takes.
pub(crate) fn of_str(text: &str) -> usize {
    text.chars().map(of_char).sum()
}
