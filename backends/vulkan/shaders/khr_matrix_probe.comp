#version 450
// khr_matrix_probe.comp: compiles when the compiler knows GL_KHR_cooperative_matrix; for the build.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
layout(local_size_x = 32) in;
void main()
{
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> m;
}
