"""Views of the ledger for people: MLflow. The driver is the only writer, and nothing here is needed to go on."""
