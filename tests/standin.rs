#[test]
#[ignore]
fn standin() {
    use crate::client::viewer::{Over, Viewer};
    let address: std::net::SocketAddr = "127.0.0.1:8590".parse().unwrap();
    let which = std::env::var("CLIP").unwrap();
    let recipe: &'static crate::corpus::Recipe = crate::corpus::Recipe::named(&which);
    let url = format!("rtsp://127.0.0.1:8590/{which}");
    for over in [Over::Tcp, Over::Udp] {
        println!("{over:?} ffmpeg: {:?}", crate::judge::ffmpeg::judge(&url, over, recipe));
        println!("{over:?} gst: {:?}", crate::judge::gstreamer::judge(&url, over, recipe));
        println!(
            "{over:?} raw: {:?}",
            std::panic::catch_unwind(|| {
                let mut viewer = Viewer::open(address, &url, over);
                viewer.play(&[]);
                viewer.receive_until(std::time::Duration::from_secs(8), |v| {
                    v.tracks.iter().any(|t| t.has_ended())
                });
                crate::judge::raw::compare(&viewer, recipe)
            })
        );
    }
}
