import type { Scenario } from '../scenario';

/** What names of comparisons end with that are measured without the add-on. */
export const WITHOUT_ADD_ON = ', without the add-on';

/** A scenario once more, in processes that leave the add-on out. */
export function withoutAddOn(scenario: Scenario): Scenario {
  return {
    ...scenario,
    majors: [1],
    inJavaScript: true,
    run: async (setting) =>
      (await scenario.run(setting)).map((result) => ({
        ...result,
        scenario: `${result.scenario}${WITHOUT_ADD_ON}`,
      })),
  };
}
