//! The PROXY protocol, versions 1 and 2, as a proxy sends it before anything else
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>): on whose behalf it connects.
//!
//! ```text
//! version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 554\r\n                          at most 107 bytes
//! version 2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | version, command | family, transport | length (2) | addresses, TLVs
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smallvec::SmallVec;
use thiserror::Error;

/// The longest header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;

/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const FIXED_BYTES: usize = 16;

/// Bytes of the addresses and ports of a family in version 2.
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// Why what came is no header; the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// It begins with something else.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Absent,
    /// The line of version 1 has no end, or an unknown family, address or port.
    #[error("the line of the PROXY protocol is malformed")]
    Line,
    /// Version 2 with a version, command, family or length that cannot be.
    #[error("the binary header of the PROXY protocol is malformed")]
    Binary,
}

/// What has become of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More of it is to come.
    Incomplete,
    /// It is complete.
    Complete {
        /// The client on whose behalf the proxy connects. None when the proxy speaks for itself or does not say: then
        /// its own address stands.
        client: Option<SocketAddr>,
        /// How many of the bytes that were given last belong to the header; the rest is the client's.
        taken: usize,
    },
}

/// Reads one header from pieces of any size. It keeps no more than the longest line.
#[derive(Clone, Debug, Default)]
pub struct HeaderReader {
    kept: SmallVec<[u8; LINE_BYTES_MAX]>,
    /// What version 2 says; None before it is known.
    binary: Option<Binary>,
}

#[derive(Clone, Copy, Debug)]
struct Binary {
    client: Option<SocketAddr>,
    /// Bytes behind the addresses that are still to come.
    skipped: usize,
}

impl HeaderReader {
    /// Takes what came next. Not to be called again after [`Progress::Complete`] or an error.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Progress, ProxyError> {
        let mut taken = 0;
        while self.binary.is_none() {
            let Some(&byte) = bytes.get(taken) else { return Ok(Progress::Incomplete) };
            taken += 1;
            self.kept.push(byte);
            if begins(WORD, &self.kept) {
                if let Some(line) = self.line()? {
                    return Ok(Progress::Complete { client: client_of_line(line)?, taken });
                }
            } else if begins(SIGNATURE, &self.kept) {
                self.binary = binary(&self.kept)?;
            } else {
                return Err(ProxyError::Absent);
            }
        }
        let Some(Binary { client, skipped }) = &mut self.binary else { return Ok(Progress::Incomplete) };
        let passed = (*skipped).min(bytes.len() - taken);
        *skipped -= passed;
        taken += passed;
        Ok(if *skipped == 0 { Progress::Complete { client: *client, taken } } else { Progress::Incomplete })
    }

    /// The line of version 1 without its end, once that has come.
    fn line(&self) -> Result<Option<&[u8]>, ProxyError> {
        match self.kept.strip_suffix(b"\r\n") {
            Some(line) => Ok(Some(line)),
            None if self.kept.len() >= LINE_BYTES_MAX => Err(ProxyError::Line),
            None => Ok(None),
        }
    }
}

/// Whether what came is the beginning of `start`, or begins with all of it.
fn begins(start: &[u8], came: &[u8]) -> bool {
    let common = start.len().min(came.len());
    start[..common] == came[..common]
}

fn client_of_line(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(ProxyError::Line);
    let family = word()?;
    if family == "UNKNOWN" {
        // Whatever stands behind it is to be ignored.
        return Ok(None);
    }
    let (source, destination) = (word()?, word()?);
    let (port, _) = (port(word()?)?, port(word()?)?);
    let addresses: [IpAddr; 2] = match family {
        "TCP4" => [ipv4(source)?, ipv4(destination)?],
        "TCP6" => [ipv6(source)?, ipv6(destination)?],
        _ => return Err(ProxyError::Line),
    };
    match words.next() {
        None => Ok(Some(SocketAddr::new(addresses[0].to_canonical(), port))),
        Some(_) => Err(ProxyError::Line),
    }
}

fn ipv4(text: &str) -> Result<IpAddr, ProxyError> {
    text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| ProxyError::Line)
}

fn ipv6(text: &str) -> Result<IpAddr, ProxyError> {
    text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| ProxyError::Line)
}

fn port(text: &str) -> Result<u16, ProxyError> {
    // The standard library would take a sign as well.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(ProxyError::Line)
}

/// What a header of version 2 says once its addresses have come; None before.
fn binary(kept: &[u8]) -> Result<Option<Binary>, ProxyError> {
    let Some((fixed, addresses)) = kept.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Binary),
    };
    let (family, transport) = (fixed[13] >> 4, fixed[13] & 0x0f);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let size = match family {
        _ if transport > 2 => return Err(ProxyError::Binary),
        // The proxy speaks for itself: whatever else the header holds is to be ignored.
        _ if is_local => 0,
        0 => 0,
        1 => INET_BYTES,
        2 => INET6_BYTES,
        3 => UNIX_BYTES,
        _ => return Err(ProxyError::Binary),
    };
    if size > length {
        return Err(ProxyError::Binary);
    }
    // A client without an address that could be used, such as one of a Unix socket, has none.
    let is_stream = transport == 1 && !is_local && matches!(family, 1 | 2);
    if !is_stream {
        return Ok(Some(Binary { client: None, skipped: length }));
    }
    let client = match family {
        1 => addresses.first_chunk::<INET_BYTES>().map(|it| {
            SocketAddr::new(IpAddr::from([it[0], it[1], it[2], it[3]]), u16::from_be_bytes([it[8], it[9]]))
        }),
        _ => addresses.first_chunk::<INET6_BYTES>().map(|it| {
            let mut source = [0; 16];
            source.copy_from_slice(&it[..16]);
            SocketAddr::new(IpAddr::from(source).to_canonical(), u16::from_be_bytes([it[32], it[33]]))
        }),
    };
    Ok(client.map(|client| Binary { client: Some(client), skipped: length - size }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of a header in these pieces: the client, and what is left for it.
    fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Option<SocketAddr>, Vec<u8>), ProxyError> {
        let (mut reader, mut client, mut rest) = (HeaderReader::default(), None, Vec::new());
        for piece in pieces {
            if client.is_some() {
                rest.extend_from_slice(piece);
                continue;
            }
            if let Progress::Complete { client: named, taken } = reader.handle_bytes(piece)? {
                client = Some(named);
                rest.extend_from_slice(&piece[taken..]);
            }
        }
        Ok((client.unwrap_or(None), rest))
    }

    fn whole(bytes: &[u8]) -> Result<(Option<SocketAddr>, Vec<u8>), ProxyError> {
        read(std::iter::once(bytes))
    }

    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// The header of a client in one of the versions, with so many bytes of TLVs.
    fn header(client: SocketAddr, is_binary: bool, extra: usize) -> Vec<u8> {
        if !is_binary {
            let (family, to) =
                if client.is_ipv4() { ("TCP4", "198.51.100.1") } else { ("TCP6", "2001:db8::1") };
            return format!("PROXY {family} {} {to} {} 554\r\n", client.ip(), client.port()).into_bytes();
        }
        let (family, mut body) = match client.ip() {
            IpAddr::V4(ip) => (0x11, [ip.octets(), [198, 51, 100, 1]].concat()),
            IpAddr::V6(ip) => (0x21, [ip.octets(), [9; 16]].concat()),
        };
        body.extend(client.port().to_be_bytes());
        body.extend(554_u16.to_be_bytes());
        body.extend(vec![b'\r'; extra]);
        version_2(0x21, family, &body)
    }

    #[test]
    fn lines_are_read_and_nothing_else_is_taken_for_one() {
        let client = |line: &str| whole(line.as_bytes()).map(|(client, _)| client.map(|it| it.to_string()));
        let named = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(client("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"), named("192.0.2.1:56324"));
        assert_eq!(client("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), named("[2001:db8::1]:1"));
        assert_eq!(client("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), named("192.0.2.1:1"));
        assert_eq!(client("PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(client("PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), Ok(None));
        for bad in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(client(bad), Err(ProxyError::Line), "{bad:?}");
        }
        for absent in ["OPTIONS * RTSP/1.0\r\n", "PROXYTCP4", "\r\n\r\n\0\r\nQUIT\r", "\x16\x03\x01"] {
            assert_eq!(client(absent), Err(ProxyError::Absent), "{absent:?}");
        }
    }

    #[test]
    fn binary_headers_are_read_and_what_they_add_is_skipped() {
        let client = |command, family, body: &[u8]| {
            whole(&[&version_2(command, family, body)[..], b"OPTIONS"].concat()).map(|(client, rest)| {
                assert_eq!(rest, b"OPTIONS");
                client.map(|it| it.to_string())
            })
        };
        let ipv4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 187];
        assert_eq!(client(0x21, 0x11, &ipv4), Ok(Some("192.0.2.1:56324".to_owned())));
        assert_eq!(
            client(0x21, 0x11, &[&ipv4[..], &[4, 0, 1, 0]].concat()),
            Ok(Some("192.0.2.1:56324".to_owned()))
        );
        // A health check of the proxy's own, also with addresses; unknown families; datagrams; Unix sockets.
        assert_eq!(client(0x20, 0x00, &[]), Ok(None));
        assert_eq!(client(0x20, 0x11, &ipv4), Ok(None));
        assert_eq!(client(0x21, 0x00, &[7; 300]), Ok(None));
        assert_eq!(client(0x21, 0x12, &ipv4), Ok(None));
        assert_eq!(client(0x21, 0x31, &[7; UNIX_BYTES]), Ok(None));
        for (command, family, size) in [
            (0x11, 0x11, 12),
            (0x22, 0x11, 12),
            (0x21, 0x13, 12),
            (0x21, 0x41, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
        ] {
            assert_eq!(
                client(command, family, &vec![1; size]),
                Err(ProxyError::Binary),
                "{command:x} {family:x}"
            );
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut reader = HeaderReader::default();
        assert_eq!(reader.handle_bytes(&[WORD, &[b'1'; 100]].concat()), Ok(Progress::Incomplete));
        assert_eq!(reader.handle_bytes(b"1"), Err(ProxyError::Line));
    }

    proptest! {
        #[test]
        fn a_header_is_read_whatever_pieces_it_comes_in(
            ip in any::<IpAddr>(),
            port in any::<u16>(),
            is_binary in any::<bool>(),
            extra in 0_usize..400,
            rest in prop::collection::vec(any::<u8>(), 0..50),
            piece in 1_usize..600,
        ) {
            let client = SocketAddr::new(ip, port);
            let bytes = [header(client, is_binary, extra), rest.clone()].concat();
            let expected = SocketAddr::new(ip.to_canonical(), port);
            prop_assert_eq!(read(bytes.chunks(piece)), Ok((Some(expected), rest)));
        }

        #[test]
        fn any_bytes_give_the_same_in_any_pieces(
            start in prop::sample::select(vec![Vec::new(), WORD.to_vec(), SIGNATURE.to_vec()]),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..200,
        ) {
            let bytes = [start, bytes].concat();
            let (front, back) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(read([front, back].into_iter()), whole(&bytes));
        }
    }
}
