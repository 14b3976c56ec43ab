// What cannot be a URL.
//~ cannot be asked for as a URL

fn main() {
    let _ = client::Client::new().get(80);
}
