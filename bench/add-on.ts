/** Whether the add-on is where the library looks for it. */
export function hasAddOn(): boolean {
  try {
    require.resolve('typeorm-field-encryption-native');
    return true;
  } catch {
    return false;
  }
}
