"""The volume operator: softmax, expectation and heat map loss of one read of the logits."""
