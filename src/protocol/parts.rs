//! A request's head taken apart, whichever HTTP it came over.

use crate::protocol::fields::Fields;
use http::{Method, Uri, Version};

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// The HTTP it came over.
    pub version: Version,
    /// Its headers.
    pub headers: Fields,
}

impl From<&http::request::Parts> for Parts {
    fn from(parts: &http::request::Parts) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers: Fields::from(&parts.headers),
        }
    }
}
