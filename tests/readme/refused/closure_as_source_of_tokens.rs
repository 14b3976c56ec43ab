// Likewise.
//~ is not a source of tokens
//~ an async closure becomes one by `client::token_fn`

fn main() {
    let _ = client::Client::builder().auth(|| "token");
}
