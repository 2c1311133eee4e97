//! One live error of the catalogue.

use std::borrow::Cow;
use std::fmt::{self, Display};

use crate::catalogue::{Class, Code, Level, Scope};
use crate::template;

/// An error with DM's code. Two are equal when their texts are; clients compare [`DmError::code`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmError(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    code: Code,
    class: Class,
    scope: Scope,
    message: String,
    raw_cause: String,
    workaround: Cow<'static, str>,
}

impl DmError {
    /// The error of this code with the placeholders of its template filled in order.
    pub fn new(code: Code, args: &[&dyn Display]) -> Self {
        let entry = code.entry();
        Self(Box::new(Parts {
            code,
            class: entry.class,
            scope: entry.scope,
            message: template::fill(entry.message, args),
            raw_cause: String::new(),
            workaround: Cow::Borrowed(entry.workaround),
        }))
    }

    /// An error that DM's catalogue has no code for: 50000, with the whole text as message.
    pub fn uncoded(text: impl Into<String>) -> Self {
        Self::new(Code::NOT_SET, &[]).message(text)
    }

    /// Replaces the message that came from the template.
    #[must_use]
    pub fn message(mut self, text: impl Into<String>) -> Self {
        self.0.message = text.into();
        self
    }

    /// Sets the text of the underlying cause. For a cause that is a `DmError` use [`DmError::caused_by`].
    #[must_use]
    pub fn cause(mut self, cause: impl Display) -> Self {
        self.0.raw_cause = cause.to_string();
        self
    }

    /// Sets a coded cause, of which only the innermost text is kept: its own cause, else its message.
    #[must_use]
    pub fn caused_by(mut self, inner: &DmError) -> Self {
        let text = if inner.0.raw_cause.is_empty() {
            &inner.0.message
        } else {
            &inner.0.raw_cause
        };
        self.0.raw_cause.clone_from(text);
        self
    }

    /// Puts `prefix: ` before the message.
    #[must_use]
    pub fn annotate(mut self, prefix: impl Display) -> Self {
        self.0.message = match self.0.message.is_empty() {
            true => prefix.to_string(),
            false => format!("{prefix}: {}", self.0.message),
        };
        self
    }

    /// Replaces the advice of the catalogue.
    #[must_use]
    pub fn workaround(mut self, text: impl Into<String>) -> Self {
        self.0.workaround = Cow::Owned(text.into());
        self
    }

    /// Replaces the class; start-task and its kin answer every error as `dm-master`.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.0.class = class;
        self
    }

    /// Replaces the scope, for database errors whose side is known only where they happen.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// What clients tell errors apart by.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The class of this error, which may differ from the registered one.
    pub fn error_class(&self) -> Class {
        self.0.class
    }

    /// The scope of this error, which may differ from the registered one.
    pub fn error_scope(&self) -> Scope {
        self.0.scope
    }

    /// The registered level.
    pub fn level(&self) -> Level {
        self.0.code.entry().level
    }

    /// The filled message alone, without code, cause and advice.
    pub fn message_text(&self) -> &str {
        &self.0.message
    }

    /// The text of the cause, or empty.
    pub fn raw_cause(&self) -> &str {
        &self.0.raw_cause
    }

    /// The advice, or empty.
    pub fn workaround_text(&self) -> &str {
        &self.0.workaround
    }
}

impl Display for DmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            code,
            class,
            scope,
            message,
            raw_cause,
            workaround,
        } = &*self.0;
        write!(
            f,
            "[code={code}:class={class}:scope={scope}:level={}]",
            self.level()
        )?;
        for (name, text) in [
            ("Message", message.as_str()),
            ("RawCause", raw_cause),
            ("Workaround", workaround),
        ] {
            if !text.is_empty() {
                write!(f, ", {name}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for DmError {}
