//! One word for why a handshake came to nothing: a closed list, for a metric.

use rustls::{AlertDescription, Error, PeerIncompatible};

/// Why a handshake with a client failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Not done in time.
    Timeout,
    /// The client left in the middle.
    Closed,
    /// What came is no TLS.
    NotTls,
    /// The client only knows versions that are not spoken any more.
    Version,
    /// No cipher suite, group or signature in common.
    Suites,
    /// The client insists on a protocol that is neither HTTP/1.1 nor HTTP/2.
    Alpn,
    /// A client certificate is asked for, and there was none.
    NoCertificate,
    /// The client's certificate is not good.
    BadCertificate,
    /// The client does not accept our certificate.
    Refused,
    /// Something else.
    Other,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::Version,
        Self::Suites,
        Self::Alpn,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Refused,
        Self::Other,
    ];

    /// The word itself.
    pub fn text(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Version => "version",
            Self::Suites => "suites",
            Self::Alpn => "alpn",
            Self::NoCertificate => "no_client_certificate",
            Self::BadCertificate => "bad_client_certificate",
            Self::Refused => "refused_by_client",
            Self::Other => "other",
        }
    }

    /// What ended a handshake.
    pub fn of(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None => Self::Closed,
        }
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(_) => Self::BadCertificate,
            Error::NoApplicationProtocol => Self::Alpn,
            Error::InvalidMessage(_) => Self::NotTls,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // Which was new with TLS 1.2, and is looked for first.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Self::Version,
            Error::PeerIncompatible(_) => Self::Suites,
            _ => Self::Other,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            // A signature that does not fit: an authority of the same name with another key.
            | AlertDescription::DecryptError => Self::Refused,
            AlertDescription::ProtocolVersion => Self::Version,
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Closed,
            _ => Self::Other,
        }
    }
}
