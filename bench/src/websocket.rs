//! A WebSocket client as fast as the load needs it: one event a message, as many on their way as the server's credit allows.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// Frames are gathered into writes of this size, as an asynchronous client does under load.
const WRITE_BYTES: usize = 16 << 10;

/// Sends each line as a message to `path` at `host`; answers how many were acknowledged.
pub(crate) fn send_lines(host: &str, path: &str, text: &str) -> Result<usize> {
    let mut stream = TcpStream::connect(host).context("connect")?;
    stream.set_nodelay(true)?;
    let upgrade = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 101"), "the server does not switch to WebSocket: {line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let welcome = hear(&mut reader, &mut stream)?;
    let credit = welcome["credit"]["messages"].as_u64().context("the welcome says no credit")?;
    let (mut sent, mut acknowledged, mut committed) = (0, 0, 0);
    let mut frames = Vec::with_capacity(2 * WRITE_BYTES);
    let mut lines = text.lines().peekable();
    while lines.peek().is_some() || acknowledged < sent {
        while sent - acknowledged < credit
            && let Some(line) = lines.next()
        {
            frame(line.as_bytes(), &mut frames);
            sent += 1;
            if frames.len() >= WRITE_BYTES {
                stream.write_all(&frames)?;
                frames.clear();
            }
        }
        stream.write_all(&frames)?;
        frames.clear();
        let ack = hear(&mut reader, &mut stream)?;
        ensure!(ack["type"] == "ack" && ack["dead_letters"] == 0, "no acknowledgement: {ack}");
        acknowledged += ack["messages"].as_u64().context("an acknowledgement counts messages")?;
        committed += ack["committed"].as_u64().context("an acknowledgement counts events")?;
    }
    Ok(usize::try_from(committed)?)
}

/// A text frame with a mask of zeros, which leaves the text as it is.
fn frame(text: &[u8], out: &mut Vec<u8>) {
    // the events of the bench are longer than what fits into one byte of length
    out.extend_from_slice(&[0x81, 0xfe]);
    let length = u16::try_from(text.len()).expect("and shorter than 64 KiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text);
}

/// The next text of the server; asked meanwhile whether somebody is there, says so.
fn hear(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> Result<Value> {
    const PING: [u8; 2] = [0x89, 0];
    const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
    let mut head = PING;
    while head == PING {
        reader.read_exact(&mut head)?;
        if head == PING {
            stream.write_all(&PONG)?;
        }
    }
    ensure!(head[0] == 0x81, "a frame that is no text: {head:?}");
    let length = match head[1] {
        126 => {
            let mut long = [0; 2];
            reader.read_exact(&mut long)?;
            usize::from(u16::from_be_bytes(long))
        }
        short @ ..126 => usize::from(short),
        _ => anyhow::bail!("a frame of more than 64 KiB"),
    };
    let mut text = vec![0; length];
    reader.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
