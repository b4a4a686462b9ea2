//! Connections to web services, with TLS where their URL says so; then they must prove who they are.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use crate::shard::tls::TlsConfig;

/// Makes connections.
pub type Connector = HttpsConnector<HttpConnector>;

/// A connector. Only one that needs TLS reads the certificates that the system trusts.
pub fn connector(needs_tls: bool) -> Result<Connector, String> {
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    plain.enforce_http(false);
    let config = TlsConfig::new(needs_tls).to_rustls();
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain))
}
