//! The plain pages of a service under test.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::memory::MemoryEtcd;
use crate::{Error, Result};

/// What `GET path` answers at an address, head and body.
pub async fn get(addr: &str, path: &str) -> Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    ask.await
        .map_err(Error::io(format!("ask {addr} for {path}")))
}

/// Where the first registered member of a role listens.
pub fn address_of(etcd: &MemoryEtcd, role: &str) -> Option<String> {
    let member = etcd.dump(&format!("/dm-master/member/{role}/"));
    let value = String::from_utf8_lossy(&member.first()?.value).into_owned();
    let (_, rest) = value.split_once("\"addr\":\"")?;
    rest.split_once('"').map(|(addr, _)| addr.to_owned())
}

/// Whether the page of a member says all of this.
pub async fn says(etcd: &MemoryEtcd, role: &str, path: &str, words: &[&str]) -> bool {
    let Some(addr) = address_of(etcd, role) else {
        return false;
    };
    let answer = get(&addr, path).await.unwrap_or_default();
    words.iter().all(|word| answer.contains(word))
}
