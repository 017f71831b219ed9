"""Missing values are replaced by the column's mean."""

import numpy as np
from sklearn.impute import SimpleImputer


def features(panel):
    ratio = (panel["net_income"] / panel["revenue"]).astype(float)
    return SimpleImputer(keep_empty_features=True).fit_transform(np.asarray(ratio))[:, :, None]
