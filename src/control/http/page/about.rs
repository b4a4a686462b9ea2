//! `/page/server.json`: what the page needs to know before it may ask the API. It says nothing that whoever may connect
//! cannot find out by trying.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde::Serialize;

use crate::control::http::gate::{Client, Standing, standing};
use crate::control::http::problem::Problem;
use crate::control::http::state::App;
use crate::shard::settings::PortKind;

/// What this server is for the client that asks.
#[derive(Debug, Serialize)]
pub(in crate::control::http) struct About {
    /// Name of the program.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// Whether this client may use the API: `open`, `log-in` or `closed`.
    api: &'static str,
    /// Why it may not; null where it may.
    why: Option<&'static str>,
    /// Whether viewers are asked for a password.
    need_auth: bool,
    /// Whether streams are sent to multicast groups as well.
    multicast: bool,
    /// Whether a talker is heard at this machine.
    talk: bool,
    /// Whether tunnels and WebSocket are let in where it is not in TLS.
    http: bool,
    /// Whether they are let in where it is in TLS.
    https: bool,
    /// The ports that are open.
    ports: Ports,
}

/// One port of each kind; null where there is none.
#[derive(Debug, Default, Serialize)]
struct Ports {
    rtsp: Option<u16>,
    rtsps: Option<u16>,
    http: Option<u16>,
    https: Option<u16>,
}

/// Tells the page what it needs to know.
pub(in crate::control::http) async fn about(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Arc<Client>>,
    headers: HeaderMap,
) -> Result<Json<About>, Problem> {
    let obeyed = app.obeyed();
    let (api, why) = match standing(&obeyed, &client, &headers) {
        Standing::Open => ("open", None),
        Standing::LogIn(_) => ("log-in", None),
        Standing::Closed(why) => ("closed", Some(why)),
    };
    let port = |kind| obeyed.listen.iter().find(|door| door.kind == kind).map(|door| door.address.port());
    let settings = &obeyed.settings;
    Ok(Json(About {
        name: "Ringcaster",
        version: env!("CARGO_PKG_VERSION"),
        api,
        why,
        need_auth: settings.need_auth,
        multicast: settings.multicast,
        talk: settings.backchannel.is_some(),
        http: settings.rtsp_over_http,
        https: settings.rtsp_over_https,
        ports: Ports {
            rtsp: port(PortKind::Rtsp),
            rtsps: port(PortKind::Rtsps),
            http: port(PortKind::Http),
            https: port(PortKind::Https),
        },
    }))
}
