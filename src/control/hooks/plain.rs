//! Connections to web services in a build without TLS.

use hyper_util::client::legacy::connect::HttpConnector;

/// Makes connections.
pub type Connector = HttpConnector;

/// A connector; an error when it needs what there is not.
pub fn connector(needs_tls: bool) -> Result<Connector, String> {
    if needs_tls {
        return Err(
            "a URL of http_notify is https, and this build has no TLS: build it with the feature tls"
                .to_owned(),
        );
    }
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    Ok(plain)
}
