//! What stands behind a credential that is more than the text of a header.
//!
//! Invariant: an identity that exists can ask: its key signs, its address leads somewhere.

use super::Channel;
use crate::cloud::aws;
use crate::cloud::google::Account;
use crate::secret::KeyDigest;
use std::sync::Arc;

/// Who asks, at a cloud.
#[derive(Debug, Clone)]
pub enum Identity {
    /// An account of Google's, which is known by the tokens that are issued to it.
    Google(Arc<Google>),
    /// An account of AWS's, which signs or has a key of Bedrock's own.
    Aws(Arc<Aws>),
}

/// An account of AWS's.
#[derive(Debug)]
pub struct Aws {
    /// The account.
    pub account: aws::Account,
    /// Where it asks.
    pub scope: aws::Scope,
    /// Of the credential as it was written, what does not name it included.
    pub whole: KeyDigest,
}

/// An account of Google's, and who issues its tokens.
#[derive(Debug)]
pub struct Google {
    /// The account.
    pub account: Account,
    /// Where its tokens are issued, reached as the channel is: through the same proxy, with the same bans.
    pub issuer: Channel,
    /// The path there.
    pub target: String,
    /// What its tokens are kept under: the account and the issuer.
    pub digest: KeyDigest,
    /// Of the credential as it was written, what does not name it included.
    pub whole: KeyDigest,
}

impl Identity {
    /// Tells the credential as it was written from every other, also from one of the same name.
    pub fn whole(&self) -> KeyDigest {
        match self {
            Self::Google(google) => google.whole,
            Self::Aws(aws) => aws.whole,
        }
    }

    /// Where its tokens are issued.
    pub fn issuer(&self) -> Option<&Channel> {
        match self {
            Self::Google(google) => Some(&google.issuer),
            Self::Aws(_) => None,
        }
    }
}
