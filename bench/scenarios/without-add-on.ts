import type { Scenario } from '../scenario';

/** Ending of the names of comparisons without the add-on. */
export const WITHOUT_ADD_ON = ', without the add-on';

/** Repeats a scenario in processes without the add-on. */
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
