"""Publisher and Subscriber of google.pubsub.v1 in memory: topics, subscriptions, pull, streaming pull and push."""
