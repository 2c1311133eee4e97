//! The time of `start-task --start-time` and `validation start --start-time`. Only its form is checked here; workers
//! interpret it.

const LAYOUTS: [&str; 6] = [
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05",
    "2006-01-02 15:04:05+08:00",
    "2006-01-02T15:04:05+08:00",
    "2006-01-02 15:04:05+0800",
    "2006-01-02T15:04:05+0800",
];

/// Whether a text is a moment in one of the forms that are taken.
///
/// # Errors
/// What is wrong with it, in DM's words for tasks.
pub fn check(text: &str) -> Result<(), String> {
    if parse(text).is_some() {
        return Ok(());
    }
    let list = layouts();
    Err(format!(
        "error while parse start-time, expected in the format like {list}: unsupported start-time format \"{text}\", \
         expected one of {list}"
    ))
}

/// What a start time should look like, in DM's words for validators.
#[must_use]
pub fn should_be() -> String {
    format!("start-time should be in the format like {}", layouts())
}

/// Every form that is taken, as a message lists them.
fn layouts() -> String {
    let quoted = LAYOUTS.map(|layout| format!("'{layout}'"));
    format!("{}, or {}", quoted[..5].join(", "), quoted[5])
}

fn parse(text: &str) -> Option<()> {
    // Slices below fall on character boundaries only if all is ASCII.
    if !text.is_ascii() || text.len() < 19 {
        return None;
    }
    let (moment, offset) = text.split_at(19);
    let bytes = moment.as_bytes();
    let separators =
        [(4, b"-"), (7, b"-"), (10, b"T "), (13, b":"), (16, b":")] as [(usize, &[u8]); 5];
    if !separators
        .iter()
        .all(|(at, allowed)| allowed.contains(&bytes[*at]))
    {
        return None;
    }
    let field = |from: usize, to: usize| number(&moment[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let is_date = (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    (is_date && hour < 24 && minute < 60 && second < 60 && is_offset(offset)).then_some(())
}

fn number(digits: &str) -> Option<u32> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

fn days(year: u32, month: u32) -> u32 {
    let is_leap = match (year % 400, year % 100, year % 4) {
        (0, _, _) => true,
        (_, 0, _) => false,
        (_, _, rest) => rest == 0,
    };
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_offset(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(['+', '-']) else {
        return text.is_empty() || text == "Z";
    };
    let (hours, minutes) = match digits.len() {
        4 => digits.split_at(2),
        5 => match digits.split_once(':') {
            Some(parts) => parts,
            None => return false,
        },
        _ => return false,
    };
    let within =
        |digits: &str, limit: u32| digits.len() == 2 && number(digits).is_some_and(|n| n <= limit);
    within(hours, 14) && within(minutes, 59)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn every_layout_is_taken() {
        let good = ["2026-02-28 23:59:59Z", "2024-02-29T00:00:00-03:30"];
        for text in super::LAYOUTS.into_iter().chain(good) {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_by_name() {
        let bad = [
            "",
            "2026-02-30 00:00:00",
            "2026-01-01",
            "2026-01-01 24:00:00",
            "2026-01-01 00:00:00+8",
            "२०२६-01-01 00:00:00",
        ];
        for text in bad {
            let error = check(text).unwrap_err();
            assert!(
                error.contains(&format!("unsupported start-time format \"{text}\"")),
                "{error}"
            );
        }
    }
}
