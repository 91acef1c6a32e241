"""Attribution: how much each part of the inputs contributes to the explained number."""
