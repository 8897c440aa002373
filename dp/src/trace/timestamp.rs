//! Timestamps as traces write them: `2023-11-16 18:15:46.6805900`.

/// Nanoseconds since 1970, or `None` if `text` is no date and time. A fraction of up to nine digits and a zero offset
/// (`Z`, `+00:00`) may follow the seconds.
pub(super) fn parse(text: &str) -> Option<i128> {
    let text = text
        .strip_suffix("+00:00")
        .or_else(|| text.strip_suffix('Z'))
        .unwrap_or(text);
    let (date, time) = text.split_once([' ', 'T'])?;
    let [year, month, day] = fields(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = fields(time, ':')?;
    if !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanoseconds = number(fraction)? * 10i64.pow(9 - fraction.len() as u32);
    let valid = year > 0
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds as i128 * 1_000_000_000 + nanoseconds as i128)
}

fn fields(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let fields = [number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?];
    parts.next().is_none().then_some(fields)
}

/// Digits only; at most nine, so that sums of them cannot overflow.
fn number(text: &str) -> Option<i64> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + is_leap(year) as i64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let before = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    before + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn timestamps_count_nanoseconds() {
        let second = 1_000_000_000;
        assert_eq!(parse("1970-01-01 00:00:00"), Some(0));
        assert_eq!(parse("1970-01-02T00:00:01.5Z"), Some(86401 * second + second / 2));
        assert_eq!(
            parse("2023-11-16 18:15:46.6805900"),
            Some(1_700_158_546 * second + 680_590_000)
        );
        assert_eq!(
            parse("2024-03-01 00:00:00.009930+00:00"),
            Some(1_709_251_200 * second + 9_930_000)
        );
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2023-11-16",
            "2023-11-16 18:15",
            "2023-13-16 18:15:46",
            "2023-02-29 18:15:46",
            "2023-11-16 24:15:46",
            "2023-11-16 18:15:46.",
            "2023-11-16 18:15:46.0123456789",
            "2023-11-16 18:15:-6",
            "2023-11-16 18:15:46+02:00",
            "0000-02-29 18:15:46",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
