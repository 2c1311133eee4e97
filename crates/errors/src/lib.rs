//! DM's error catalogue: number, class, scope, level, message template and advice of every error a client can
//! meet, and [`DmError`], one such error with its arguments and cause.
//!
//! `Display` of [`DmError`] is the text form that clients parse:
//! `[code=38019:class=dm-master:scope=internal:level=high], Message: ..., RawCause: ..., Workaround: ...`,
//! where a part that is empty is left out. Nothing else in this workspace writes that form.

mod catalogue;
mod error;
mod template;

pub use catalogue::{Class, Code, Entry, Level, Scope};
pub use error::DmError;
pub use template::List;
