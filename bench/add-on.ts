const PACKAGE = 'typeorm-field-encryption-native';

/** Whether the add-on is where the library looks for it. */
export function hasAddOn(): boolean {
  try {
    require.resolve(PACKAGE);
    return true;
  } catch {
    return false;
  }
}
