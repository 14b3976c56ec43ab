//! The client as a tower service and nothing else: as large as a program that has only that.

use client::Client;
use harness::Called;

fn main() {
    harness::main(|plan| Called(ours::client(plan, Client::builder())));
}
