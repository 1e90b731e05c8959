"""Studies, from the lake to a challenger: candidates, promotion, reproduction."""
