//! Filling the catalogue's printf-like templates.

use std::fmt::{self, Display, Write as _};

/// A list as DM prints it: `[a b]`.
#[derive(Clone, Copy, Debug)]
pub struct List<'a, T>(pub &'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (i, item) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{item}")?;
        }
        f.write_char(']')
    }
}

/// The template with its placeholders replaced in order. Without arguments it is used as it stands; a missing
/// argument and a surplus one show up in the text the way DM shows them.
pub(crate) fn fill(template: &str, args: &[&dyn Display]) -> String {
    if args.is_empty() {
        return template.to_owned();
    }
    let mut out = String::with_capacity(template.len() + 16 * args.len());
    let mut args = args.iter();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let spec = &rest[at + 1..];
        let flags = spec.len()
            - spec
                .trim_start_matches([
                    '+', ' ', '#', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9',
                ])
                .len();
        let Some(verb) = spec[flags..].chars().next() else {
            out.push_str("%!(NOVERB)");
            rest = "";
            break;
        };
        push_verb(&mut out, verb, &mut args);
        rest = &spec[flags + verb.len_utf8()..];
    }
    out.push_str(rest);
    push_surplus(&mut out, args);
    out
}

fn push_verb<'a>(
    out: &mut String,
    verb: char,
    args: &mut impl Iterator<Item = &'a &'a dyn Display>,
) {
    if verb == '%' {
        out.push('%');
        return;
    }
    let text = match (args.next(), verb) {
        (None, _) => format!("%!{verb}(MISSING)"),
        (Some(arg), 'q') => quoted(&arg.to_string()),
        (Some(arg), _) => arg.to_string(),
    };
    out.push_str(&text);
}

fn push_surplus<'a>(out: &mut String, args: impl Iterator<Item = &'a &'a dyn Display>) {
    let surplus: Vec<String> = args.map(|arg| format!("string={arg}")).collect();
    if !surplus.is_empty() {
        out.push_str("%!(EXTRA ");
        out.push_str(&surplus.join(", "));
        out.push(')');
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_order() {
        assert_eq!(
            fill("%d of %s: %+v, 100%%", &[&1, &"a%s", &List(&["x", "y"])]),
            "1 of a%s: [x y], 100%"
        );
    }

    #[test]
    fn a_template_without_arguments_stays_as_it_is() {
        assert_eq!(fill("%s 100%", &[]), "%s 100%");
    }

    #[test]
    fn missing_and_surplus_arguments_show_in_the_text() {
        assert_eq!(fill("%s and %d", &[&1]), "1 and %!d(MISSING)");
        assert_eq!(
            fill("plain", &[&"a", &2]),
            "plain%!(EXTRA string=a, string=2)"
        );
        assert_eq!(fill("%s %", &[&"a"]), "a %!(NOVERB)");
    }

    #[test]
    fn quoting_escapes_what_would_end_the_quote() {
        assert_eq!(fill("%q", &[&"a\"\\\n\u{1}é"]), "\"a\\\"\\\\\\n\\x01é\"");
    }
}
