//! What the arguments of `date` mean, and how dates look.

use alloc::format;
use alloc::string::String;
use time::calendar::DateTime;

/// How the date is printed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// As `date` always did.
    Traditional,
    /// The date alone, by ISO 8601.
    IsoDate,
    /// Date and time to the second, by ISO 8601.
    IsoSeconds,
}

/// The format that the arguments ask for, or the argument that is wrong. Times are in UTC anyway, so `-u` changes nothing.
pub fn parse(args: &[String]) -> Result<Format, &str> {
    let mut format = Format::Traditional;
    for argument in args {
        format = match argument.as_str() {
            "-u" | "--utc" => format,
            "-I" | "-Idate" | "--iso-8601" | "--iso-8601=date" => Format::IsoDate,
            "-Iseconds" | "--iso-8601=seconds" => Format::IsoSeconds,
            other => return Err(other),
        };
    }
    Ok(format)
}

pub fn render(format: Format, seconds: i64) -> String {
    let date = DateTime::from_unix(seconds);
    let DateTime { year, month, day, hour, minute, second } = date;
    match format {
        Format::Traditional => format!(
            "{} {} {day:2} {hour:02}:{minute:02}:{second:02} UTC {year}",
            date.weekday_name(),
            date.month_name()
        ),
        Format::IsoDate => format!("{year:04}-{month:02}-{day:02}"),
        Format::IsoSeconds => format!("{date}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Format, String> {
        let args: Vec<String> = args.iter().map(|argument| String::from(*argument)).collect();
        parse(&args).map_err(String::from)
    }

    #[test]
    fn formats_are_those_of_gnu_date() {
        assert_eq!(render(Format::Traditional, 1_795_165_921), "Fri Nov 20 09:12:01 UTC 2026");
        assert_eq!(render(Format::Traditional, 1_780_272_000), "Mon Jun  1 00:00:00 UTC 2026");
        assert_eq!(render(Format::IsoDate, 1_795_165_921), "2026-11-20");
        assert_eq!(render(Format::IsoSeconds, 1_795_165_921), "2026-11-20T09:12:01+00:00");
    }

    #[test]
    fn arguments() {
        assert_eq!(parsed(&[]), Ok(Format::Traditional));
        assert_eq!(parsed(&["-u"]), Ok(Format::Traditional));
        assert_eq!(parsed(&["-u", "-I"]), Ok(Format::IsoDate));
        assert_eq!(parsed(&["--iso-8601=seconds", "-u"]), Ok(Format::IsoSeconds));
        for wrong in ["-x", "+%s", "", "now", "--iso-8601=ns"] {
            assert_eq!(parsed(&["-u", wrong]), Err(String::from(wrong)));
        }
    }
}
