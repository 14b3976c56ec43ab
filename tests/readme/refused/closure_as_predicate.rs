// A closure is named as what it is.
//~ is not a predicate
//~ a closure becomes one by `retry_layer::predicate_fn`

use retry_layer::{Class, Outcome, RetryPolicy};

fn main() {
    let _ = RetryPolicy::builder().predicate(|_: &Outcome<'_>| Class::Final);
}
