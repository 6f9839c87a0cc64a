//! Compressed bodies: never more than the limit, and what comes out is what another decoder finds.

use std::io::Read;
use tollgate::protocol::encoding::decode;

/// The first byte chooses the coding.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let coding =
        ["gzip", "br", "zstd", "deflate", "identity", "gzip, br", "zstd,zstd"][usize::from(*first) % 7];
    match decode(coding, body, LIMIT) {
        Ok(out) => {
            assert!(out.len() <= LIMIT && out.capacity() <= 2 * LIMIT, "{coding}: {}", out.capacity());
            let oracle = oracle(coding, body);
            assert!(oracle.is_none_or(|oracle| oracle.contains(&out)), "{coding}: another decoder disagrees");
        }
        Err(refusal) => assert!(matches!(refusal.code.status(), 400 | 413 | 415), "{}", refusal.message),
    }
}

/// What the body may mean by the libraries' own readers; `None`: they are not asked.
fn oracle(coding: &str, body: &[u8]) -> Option<Vec<Vec<u8>>> {
    match coding {
        "gzip" => Some(vec![all(flate2::read::MultiGzDecoder::new(body))]),
        "deflate" => Some(vec![
            all(flate2::read::ZlibDecoder::new(body)),
            all(flate2::read::DeflateDecoder::new(body)),
        ]),
        "br" => Some(vec![all(brotli::Decompressor::new(body, 4096))]),
        "zstd" => Some(zstd::decode_all(body).into_iter().collect()),
        "identity" => Some(vec![body.to_vec()]),
        _ => None,
    }
}

fn all(reader: impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    // What it makes of a damaged end is not asked here.
    drop(reader.take(2 * LIMIT as u64).read_to_end(&mut out));
    out
}

const LIMIT: usize = 64 * 1024;
