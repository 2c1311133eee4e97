//! Sentences and real output on the terminal, with the time since the beginning.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

/// Where the story is told.
pub struct Story {
    out: Box<dyn Write + Send>,
    began: Instant,
    chapter: u32,
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story")
            .field("chapter", &self.chapter)
            .finish_non_exhaustive()
    }
}

impl Story {
    /// Begins now.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            began: Instant::now(),
            chapter: 0,
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A heading with a number.
    pub fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        let heading = format!("{}. {title}", self.chapter);
        self.line(&format!(
            "\n{heading}\n{}",
            "-".repeat(heading.chars().count())
        ));
    }

    /// What happens now, or what was found.
    pub fn say(&mut self, text: &str) {
        let at = format!("[{:5.1} s]", self.elapsed().as_secs_f64());
        self.line(&format!("{at} {text}"));
    }

    /// A command as a user would type it, with what it printed.
    pub fn show_command(&mut self, command: &str, output: &str) {
        self.show(&format!("$ {command}\n{output}"));
    }

    /// Output, indented.
    pub fn show(&mut self, output: &str) {
        for line in output.trim_end().lines() {
            self.line(&format!("            {line}"));
        }
    }

    /// A reader that has gone away is no reason to stop.
    fn line(&mut self, text: &str) {
        let _gone = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

/// A duration as people read it.
pub fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
