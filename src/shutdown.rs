//! One token that ends everything in order.
