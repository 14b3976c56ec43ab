// A closure is named as what it is.
//~ is not a classifier
//~ a closure becomes one by `retry_layer::classifier_fn`

use retry_layer::{Class, Outcome, RetryPolicy};

fn main() {
    let _ = RetryPolicy::builder().classifier(|_: &Outcome<'_>| Class::Final);
}
