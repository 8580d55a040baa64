/** ECMAScript 2024, in every supported Node.js but not yet in the library the code is compiled against. */
interface WellFormedString {
  isWellFormed(): boolean;
}

/** Whether a string has no lone surrogate, and so survives UTF-8 unchanged. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as WellFormedString).isWellFormed();
}
