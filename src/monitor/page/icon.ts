/** The mark of the program: two tables and what flows between them. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke-linecap="round">
<rect width="32" height="32" rx="8" fill="#0f766e"/>
<path d="M7 12c3.5-4 5.5-4 9 0s5.5 4 9 0" stroke="#fff" stroke-width="2.6"/>
<path d="M7 20c3.5-4 5.5-4 9 0s5.5 4 9 0" stroke="#fff" stroke-opacity=".6" stroke-width="2.6"/>
</svg>
`;
