//! Rate, burst and concurrency per partner (governor); they live on over a reload.
