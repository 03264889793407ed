"""Model families. `model.family: NAME` in params.yaml means the module NAME.py of this package.

To add a family, write NAME.py with a subclass of `base.Family` and `FAMILY = YourFamily()`, and add NAME to `FamilyName` in
yoyak/config. A family that is trained also needs a stage in dvc.yaml (docs: "Add a model family").
"""
