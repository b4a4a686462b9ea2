//! Status codes and their reason phrases (RFC 2326 section 7.1.1, RFC 7826 section 17).

use std::fmt;

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

/// One table for the constants and their phrases, so that neither can miss the other.
macro_rules! statuses {
    ($($name:ident = $code:literal, $reason:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!($code, " ", $reason, ".")]
                pub const $name: Status = Status($code);
            )*

            /// The phrase after the code; that of the code's class when the code is not a known one.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    100..=199 => "Continue",
                    200..=299 => "OK",
                    300..=399 => "Multiple Choices",
                    400..=499 => "Bad Request",
                    _ => "Internal Server Error",
                }
            }
        }

        #[cfg(test)]
        const KNOWN: &[(Status, &str)] = &[$((Status::$name, $reason),)*];
    };
}

statuses! {
    CONTINUE = 100, "Continue";
    OK = 200, "OK";
    CREATED = 201, "Created";
    LOW_ON_STORAGE_SPACE = 250, "Low on Storage Space";
    MULTIPLE_CHOICES = 300, "Multiple Choices";
    MOVED_PERMANENTLY = 301, "Moved Permanently";
    MOVED_TEMPORARILY = 302, "Moved Temporarily";
    SEE_OTHER = 303, "See Other";
    NOT_MODIFIED = 304, "Not Modified";
    USE_PROXY = 305, "Use Proxy";
    BAD_REQUEST = 400, "Bad Request";
    UNAUTHORIZED = 401, "Unauthorized";
    PAYMENT_REQUIRED = 402, "Payment Required";
    FORBIDDEN = 403, "Forbidden";
    NOT_FOUND = 404, "Not Found";
    METHOD_NOT_ALLOWED = 405, "Method Not Allowed";
    NOT_ACCEPTABLE = 406, "Not Acceptable";
    PROXY_AUTHENTICATION_REQUIRED = 407, "Proxy Authentication Required";
    REQUEST_TIMEOUT = 408, "Request Time-out";
    GONE = 410, "Gone";
    LENGTH_REQUIRED = 411, "Length Required";
    PRECONDITION_FAILED = 412, "Precondition Failed";
    REQUEST_ENTITY_TOO_LARGE = 413, "Request Entity Too Large";
    REQUEST_URI_TOO_LARGE = 414, "Request-URI Too Large";
    UNSUPPORTED_MEDIA_TYPE = 415, "Unsupported Media Type";
    PARAMETER_NOT_UNDERSTOOD = 451, "Parameter Not Understood";
    CONFERENCE_NOT_FOUND = 452, "Conference Not Found";
    NOT_ENOUGH_BANDWIDTH = 453, "Not Enough Bandwidth";
    SESSION_NOT_FOUND = 454, "Session Not Found";
    METHOD_NOT_VALID_IN_THIS_STATE = 455, "Method Not Valid in This State";
    HEADER_FIELD_NOT_VALID_FOR_RESOURCE = 456, "Header Field Not Valid for Resource";
    INVALID_RANGE = 457, "Invalid Range";
    PARAMETER_IS_READ_ONLY = 458, "Parameter Is Read-Only";
    AGGREGATE_OPERATION_NOT_ALLOWED = 459, "Aggregate Operation Not Allowed";
    ONLY_AGGREGATE_OPERATION_ALLOWED = 460, "Only Aggregate Operation Allowed";
    UNSUPPORTED_TRANSPORT = 461, "Unsupported Transport";
    DESTINATION_UNREACHABLE = 462, "Destination Unreachable";
    DESTINATION_PROHIBITED = 463, "Destination Prohibited";
    DATA_TRANSPORT_NOT_READY_YET = 464, "Data Transport Not Ready Yet";
    NOTIFICATION_REASON_UNKNOWN = 465, "Notification Reason Unknown";
    KEY_MANAGEMENT_ERROR = 466, "Key Management Error";
    CONNECTION_AUTHORIZATION_REQUIRED = 470, "Connection Authorization Required";
    CONNECTION_CREDENTIALS_NOT_ACCEPTED = 471, "Connection Credentials Not Accepted";
    FAILURE_TO_ESTABLISH_SECURE_CONNECTION = 472, "Failure to Establish Secure Connection";
    INTERNAL_SERVER_ERROR = 500, "Internal Server Error";
    NOT_IMPLEMENTED = 501, "Not Implemented";
    BAD_GATEWAY = 502, "Bad Gateway";
    SERVICE_UNAVAILABLE = 503, "Service Unavailable";
    GATEWAY_TIMEOUT = 504, "Gateway Time-out";
    RTSP_VERSION_NOT_SUPPORTED = 505, "RTSP Version Not Supported";
    OPTION_NOT_SUPPORTED = 551, "Option Not Supported";
    PROXY_UNAVAILABLE = 553, "Proxy Unavailable";
}

impl Status {
    /// Whether the request was done (2xx).
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_code_has_its_own_phrase() {
        for (index, (status, reason)) in KNOWN.iter().enumerate() {
            assert_eq!(status.reason(), *reason);
            assert!(KNOWN[..index].iter().all(|(other, phrase)| other < status && phrase != reason));
        }
    }

    #[test]
    fn an_unknown_code_takes_the_phrase_of_its_class() {
        assert_eq!(Status(599).to_string(), "599 Internal Server Error");
        assert_eq!(Status(222).to_string(), "222 OK");
    }
}
