//! GET of a page of a service on loopback: `/readyz`, `/status`. Plain HTTP/1.0 and nothing more.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Error, Result};

/// How long a page may take; a stopped process answers never.
const PATIENCE: Duration = Duration::from_secs(2);

/// A page as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub code: u16,
    /// Everything below the headers.
    pub body: String,
}

/// Fetches a page, whatever its status.
pub async fn get(addr: &str, path: &str) -> Result<Page> {
    let failed = |reason: String| Error::Page {
        addr: addr.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let asked = timeout(PATIENCE, ask(addr, path)).await;
    let answer = asked
        .map_err(|_| failed(format!("no answer within {PATIENCE:?}")))?
        .map_err(|e| failed(e.to_string()))?;
    parse(&answer).ok_or_else(|| failed(format!("no HTTP answer: {answer:?}")))
}

/// Fetches a page of JSON, whatever its status.
pub async fn get_json(addr: &str, path: &str) -> Result<Value> {
    let page = get(addr, path).await?;
    serde_json::from_str(&page.body).map_err(|e| Error::Page {
        addr: addr.to_owned(),
        path: path.to_owned(),
        reason: format!("{e} in {:?}", page.body),
    })
}

async fn ask(addr: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parse(answer: &str) -> Option<Page> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Page {
        code,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_told_apart() {
        let page =
            parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n{\"ready\":false}").unwrap();
        assert_eq!(
            page,
            Page {
                code: 503,
                body: "{\"ready\":false}".to_owned()
            }
        );
        assert_eq!(parse("garbage"), None);
    }
}
