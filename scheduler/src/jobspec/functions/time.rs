//! `formatdate` and `timeadd`, on RFC 3339 times.

use model::driver_config::Value;

use super::{Answer, Args, Function};
use crate::spec::duration;

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub const FUNCTIONS: &[(&str, Function)] = &[("formatdate", formatdate), ("timeadd", timeadd)];

/// A point in time with the offset it was written with.
#[derive(Clone, Copy)]
struct Moment {
    /// Seconds since 1970 in the written offset.
    local: i64,
    nanos: i64,
    /// Minutes east of UTC.
    offset: i64,
}

/// Days since 1970 of a date in the Gregorian calendar.
const fn days_from(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days since 1970.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + if month <= 2 { 1 } else { 0 }, month, doy - (153 * mp + 2) / 5 + 1)
}

impl Moment {
    /// `2006-01-02T15:04:05.000+01:00`.
    fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            let part = text.get(range)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
        };
        let marks = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
        if marks.iter().any(|(i, m)| text.get(*i..i + 1) != Some(m))
            || !matches!(text.get(10..11), Some("T" | "t" | " "))
        {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let mut rest = text.get(19..)?;
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            nanos = format!("{:0<9.9}", &fraction[..digits]).parse().ok()?;
            rest = &fraction[digits..];
        }
        let offset = match rest {
            "Z" | "z" => 0,
            _ => {
                let sign = if rest.starts_with('-') { -1 } else { 1 };
                let (h, m) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
                sign * (h.parse::<i64>().ok()? * 60 + m.parse::<i64>().ok()?)
            }
        };
        let fine = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
        let days = days_from(year, month, day);
        (fine && date_of(days).1 == month).then_some(Self {
            local: days * 86_400 + hour * 3600 + minute * 60 + second,
            nanos,
            offset,
        })
    }

    fn zone(self, colon: &str) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        format!("{sign}{:02}{colon}{:02}", self.offset.abs() / 60, self.offset.abs() % 60)
    }

    fn rfc3339(self) -> String {
        let (y, m, d) = date_of(self.local.div_euclid(86_400));
        let s = self.local.rem_euclid(86_400);
        let fraction = match self.nanos {
            0 => String::new(),
            n => format!(".{n:09}").trim_end_matches('0').to_owned(),
        };
        let zone = if self.offset == 0 { "Z".to_owned() } else { self.zone(":") };
        format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}{fraction}{zone}", s / 3600, s / 60 % 60, s % 60)
    }

    /// One run of equal letters of a date format.
    fn piece(self, letters: &str) -> Option<String> {
        let (y, m, d) = date_of(self.local.div_euclid(86_400));
        let s = self.local.rem_euclid(86_400);
        let (hour, half) = (s / 3600, (s / 3600 + 11) % 12 + 1);
        let day = DAYS[usize::try_from(self.local.div_euclid(86_400).rem_euclid(7)).unwrap_or(0)];
        let month = MONTHS[usize::try_from(m - 1).unwrap_or(0)];
        Some(match letters {
            "YYYY" => format!("{y:04}"),
            "YY" => format!("{:02}", y % 100),
            "MMMM" => month.to_owned(),
            "MMM" => month[..3].to_owned(),
            "MM" => format!("{m:02}"),
            "M" => m.to_string(),
            "DD" => format!("{d:02}"),
            "D" => d.to_string(),
            "EEEE" => day.to_owned(),
            "EEE" => day[..3].to_owned(),
            "hh" => format!("{hour:02}"),
            "h" => hour.to_string(),
            "HH" => format!("{half:02}"),
            "H" => half.to_string(),
            "AA" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "aa" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "mm" => format!("{:02}", s / 60 % 60),
            "m" => (s / 60 % 60).to_string(),
            "ss" => format!("{:02}", s % 60),
            "s" => (s % 60).to_string(),
            "Z" if self.offset == 0 => "Z".to_owned(),
            "Z" | "ZZZZZ" => self.zone(":"),
            "ZZZZ" => self.zone(""),
            "ZZZ" if self.offset == 0 => "UTC".to_owned(),
            "ZZZ" => self.zone(""),
            _ => return None,
        })
    }
}

fn moment(a: &Args<'_>, v: &Value) -> Result<Moment, String> {
    let text = a.text(v)?;
    Moment::parse(&text).ok_or_else(|| a.fail(format!("{text:?} is not a time such as \"2026-11-22T13:00:00Z\"")))
}

/// Letters stand for parts of the time; text between single quotes stands for itself.
fn formatdate(a: &Args<'_>) -> Answer {
    let [spec, time] = a.exactly()?;
    let (spec, time) = (a.text(spec)?, moment(a, time)?);
    let mut out = String::new();
    let mut rest = spec.as_str();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (quoted, tail) = rest[1..].split_once('\'').ok_or_else(|| a.fail("a quote is not closed"))?;
            out.push_str(if quoted.is_empty() { "'" } else { quoted });
            rest = tail;
            continue;
        }
        let run = rest.len() - rest.trim_start_matches(first).len();
        let (letters, tail) = rest.split_at(run);
        if first.is_ascii_alphabetic() {
            out.push_str(&time.piece(letters).ok_or_else(|| a.fail(format!("{letters:?} is no part of a time")))?);
        } else {
            out.push_str(letters);
        }
        rest = tail;
    }
    Ok(Value::Str(out))
}

fn timeadd(a: &Args<'_>) -> Answer {
    let [time, by] = a.exactly()?;
    let (mut time, by) = (moment(a, time)?, a.text(by)?);
    let (sign, amount) = by.strip_prefix('-').map_or((1, by.as_str()), |rest| (-1, rest));
    let amount = duration::to_nanos(duration::parse(amount).map_err(|e| a.fail(e))?);
    let nanos = time.nanos + sign * (amount % 1_000_000_000);
    time.local += sign * (amount / 1_000_000_000) + nanos.div_euclid(1_000_000_000);
    time.nanos = nanos.rem_euclid(1_000_000_000);
    Ok(Value::Str(time.rfc3339()))
}
